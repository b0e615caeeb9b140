"""Predicting a batch as whole images, or an image by sliding window.

Shapes: K classes, h x w positions of coarse logits.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.predictions import Window


def whole_images(
    predict: Callable[[Tensor], Tensor], images: Tensor, image_sizes: Sequence[tuple[int, int]]
) -> list[list[Window]]:
    """Predict a padded batch, each image as its only window.

    Args:
        predict: as for :func:`sliding_windows`.
        images: normalized, (B, 3, H, W).
        image_sizes: height and width of each image without its padding.
    """
    padded = tuple(images.shape[-2:])
    return [
        [Window(logits.contiguous(), padded, slice(0, height), slice(0, width))]
        for logits, (height, width) in zip(predict(images), image_sizes, strict=True)
    ]


def sliding_windows(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    size: int,
    stride: int,
    batch_size: int,
    divisor: int,
    smallest: int = 1,
) -> list[Window]:
    """Predict overlapping windows of an image.

    The last window of each row and column ends at the border. An image smaller than a window is one window of its size.

    Args:
        predict: normalized images (N, 3, H, W), padded as below -> coarse logits (N, K, h, w).
        image: normalized, (3, H, W).
        size: side of a window, in pixels.
        stride: step between windows, in pixels, at most `size`.
        batch_size: windows that `predict` gets at once, at most.
        divisor, smallest: of :func:`pad`.
    """
    height, width = image.shape[-2:]
    window = (min(size, height), min(size, width))
    places = [
        (slice(top, top + window[0]), slice(left, left + window[1]))
        for top in _starts(height, size, stride)
        for left in _starts(width, size, stride)
    ]
    windows = []
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        images = pad(torch.stack([image[:, rows, columns] for rows, columns in batch]), divisor, smallest)
        for place, logits in zip(batch, predict(images), strict=True):
            windows.append(Window(logits.contiguous(), tuple(images.shape[-2:]), *place))
    return windows


def pad(images: Tensor, divisor: int, smallest: int) -> Tensor:
    """Pad images (..., H, W) with zeros at the bottom and on the right.

    Args:
        divisor: sides become multiples of this.
        smallest: no side stays smaller than this.
    """
    height, width = (max(0, smallest - side, -side % divisor) for side in images.shape[-2:])
    return F.pad(images, (0, width, 0, height))


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Return the first pixel of each window along a side."""
    steps = max(0, -(-(length - size) // stride))
    return [min(step * stride, max(0, length - size)) for step in range(steps + 1)]
