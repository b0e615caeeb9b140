"""Logits of images by a sliding window."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def sliding_window(predict: Callable[[Tensor], Tensor], image: Tensor, size: int, stride: int, divisor: int) -> Tensor:
    """Average the logits of overlapping windows.

    The last window of each row and column ends at the border. An image smaller than a window is one window of its size.

    Args:
        predict: normalized images (N, 3, h, w), sides multiples of `divisor` -> logits (N, K, h, w).
        image: normalized, (3, H, W).
        size: side of a window, in pixels.
        stride: step between windows, in pixels, at most `size`.
        divisor: windows are padded with zeros to multiples of this.

    Returns:
        (K, H, W), float32.
    """
    height, width = image.shape[-2:]
    window = (min(size, height), min(size, width))
    padding = (0, -window[1] % divisor, 0, -window[0] % divisor)
    total = counts = None
    for top in _starts(height, size, stride):
        for left in _starts(width, size, stride):
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            logits = predict(F.pad(image[None, :, rows, columns], padding))[0, :, : window[0], : window[1]].float()
            if total is None:
                total = logits.new_zeros(len(logits), height, width)
                counts = logits.new_zeros(height, width)
            total[:, rows, columns] += logits
            counts[rows, columns] += 1
    return total / counts


def _starts(length: int, size: int, stride: int) -> list[int]:
    """First pixel of each window along a side."""
    steps = max(0, -(-(length - size) // stride))
    return [min(step * stride, max(0, length - size)) for step in range(steps + 1)]
