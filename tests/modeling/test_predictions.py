"""Windows and whole images, and full-size logits, against their definitions."""

import pytest
import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.predictions import LazyLogits, LazyProbabilities, View
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.modeling.windows import sliding_windows, whole_images
from tests.support.models import predict, predict_coarsely


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 131), (150, 64), (40, 200), (33, 47)])
def test_equals_a_loop_over_windows(height: int, width: int, batch_size: int) -> None:
    image = torch.randn(3, height, width)
    size, stride = 64, 43
    windows = sliding_windows(predict, image, size, stride, batch_size, 32)
    found = LazyLogits(windows, (height, width), (height, width)).logits()

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
    assert len(windows) == len(tops) * len(lefts)
    torch.testing.assert_close(found, total / counts)


def test_windows_come_in_batches() -> None:
    sizes = []

    def counting(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return predict(images)

    sliding_windows(counting, torch.randn(3, 150, 107), 64, 43, 4, 32)
    assert sizes == [4, 2]


def test_an_image_of_the_windows_size_is_predicted_whole() -> None:
    image = torch.randn(3, 64, 64)
    windows = sliding_windows(predict, image, 64, 43, 4, 32)
    torch.testing.assert_close(LazyLogits(windows, (64, 64), (64, 64)).logits(), predict(image[None])[0])


def test_whole_images_are_up_sampled_cropped_and_resized() -> None:
    """As Detectron2's head and `SemanticSegmentor` do it."""
    images, sizes = torch.randn(2, 3, 96, 160), [(96, 131), (70, 160)]
    full = F.interpolate(predict_coarsely(images), scale_factor=4, mode="bilinear", align_corners=False)
    for windows, logits, size in zip(whole_images(predict_coarsely, images, sizes), full, sizes, strict=True):
        found = LazyLogits(windows, size, (133, 77)).logits()
        assert torch.equal(found, sem_seg_postprocess(logits, size, 133, 77))


@pytest.mark.parametrize("candidates", [None, [3], [0, 7, 8, 29]])
def test_labels_are_the_best_of_the_candidates(candidates: list[int] | None) -> None:
    (windows,) = whole_images(predict_coarsely, torch.randn(1, 3, 96, 160), [(96, 131)])
    prediction = LazyLogits(windows, (96, 131), (41, 57))
    logits = prediction.logits()
    others = [label for label in range(30) if candidates is not None and label not in candidates]
    logits[others] = float("-inf")
    assert torch.equal(prediction.labels(candidates), logits.argmax(dim=0))


def test_averages_are_of_probabilities() -> None:
    """Views of two sizes, one by sliding window, one mirrored; logits so large that their exponentials overflow."""
    small = whole_images(lambda images: 100 * predict_coarsely(images), torch.randn(1, 3, 64, 96), [(57, 79)])[0]
    large = sliding_windows(predict_coarsely, torch.randn(3, 97, 131), 64, 43, 4, 32)
    views = [LazyLogits(small, (57, 79), (60, 83)), LazyLogits(large, (97, 131), (60, 83))]
    average = LazyProbabilities([View(views[0], mirrored=False), View(views[1], mirrored=True)])
    wanted = (views[0].logits().softmax(dim=0) + views[1].logits().softmax(dim=0).flip(2)) / 2
    torch.testing.assert_close(average.scores(), wanted)


@pytest.mark.parametrize("window", [(64, 65, 4), (64, 0, 4), (64, -5, 4), (0, 1, 4), (64, 43, 0)])
def test_windows_that_leave_pixels_out_are_refused(window: tuple[int, int, int]) -> None:
    """Pixels that no window covers would be 0 / 0, which is the first class."""
    with pytest.raises(ValueError, match=rf"SIZE {window[0]}, STRIDE {window[1]} and BATCH_SIZE {window[2]}; wanted"):
        Segmentor().configure_inference((0, 0, 0), (1, 1, 1), window)
