"""Sliding-window inference against a loop over pixels."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.inference import sliding_window


def predict(images: Tensor) -> Tensor:
    """Depends on the whole window: each pixel sees the window's mean."""
    assert images.shape[-1] % 32 == 0 and images.shape[-2] % 32 == 0
    return torch.cat([images + images.mean(dim=(2, 3), keepdim=True), images[:, :1] ** 2], dim=1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 131), (150, 64), (40, 200), (33, 47)])
def test_equals_a_loop_over_windows(height: int, width: int) -> None:
    image = torch.randn(3, height, width)
    size, stride = 64, 43
    found = sliding_window(predict, image, size, stride, 32)

    tops = sorted({min(top, max(height - size, 0)) for top in range(0, max(height - size, 0) + stride, stride)})
    lefts = sorted({min(left, max(width - size, 0)) for left in range(0, max(width - size, 0) + stride, stride)})
    total, counts = torch.zeros(4, height, width), torch.zeros(height, width)
    for top in tops:
        for left in lefts:
            window = image[:, top : top + size, left : left + size]
            h, w = window.shape[1:]
            padded = F.pad(window, (0, -w % 32, 0, -h % 32))
            total[:, top : top + h, left : left + w] += predict(padded[None])[0, :, :h, :w]
            counts[top : top + h, left : left + w] += 1
    assert (counts > 0).all()
    torch.testing.assert_close(found, total / counts)


def test_an_image_of_the_windows_size_is_predicted_whole() -> None:
    image = torch.randn(3, 64, 64)
    torch.testing.assert_close(sliding_window(predict, image, 64, 43, 32), predict(image[None])[0])
