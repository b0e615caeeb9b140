"""Predictions, kept as coarse as the model makes them and brought to full size a few classes at a time.

Bilinear interpolation treats each class for itself, so that the parts are what the whole would be. A softmax does not:
predictions whose probabilities are averaged are brought to full size twice, first for the sum over all classes.

Shapes: K classes, h x w positions of coarse logits, H x W pixels of the image as the model sees it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, reduce
from typing import NamedTuple

import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor
from torch.nn import functional as F

# Size of the full-size logits that exist at once when label maps are made, and the fewest classes that do.
CHUNK_BYTES = 16 * 2**20
MIN_CHUNK = 8


class Window(NamedTuple):
    """A part of an image, perhaps all of it, and its logits."""

    logits: Tensor  # (K, h, w), of the window with its padding
    padded: tuple[int, int]  # height and width in pixels, with the padding at the bottom and on the right
    rows: slice  # of the image
    columns: slice

    def upsample(self, classes: slice) -> Tensor:
        """Logits of some classes for each pixel of the window."""
        logits = F.interpolate(self.logits[None, classes], size=self.padded, mode="bilinear", align_corners=False)[0]
        return logits[:, : self.rows.stop - self.rows.start, : self.columns.stop - self.columns.start]


class Scores(ABC):
    """Scores of K classes at each pixel of an answer, some classes at a time.

    Attributes:
        num_classes: K.
        pixels: how many a class has while it is computed, at most.
    """

    def __init__(self, num_classes: int, pixels: int) -> None:
        self.num_classes = num_classes
        self.pixels = pixels

    @abstractmethod
    def scores(self, classes: slice = slice(None)) -> Tensor:
        """Scores (K, height, width) of all classes, or of some."""

    @torch.no_grad()
    def labels(self, candidates: Collection[int] | None = None) -> Tensor:
        """``scores().argmax(dim=0)``, int64, without ever holding all of these scores.

        Args:
            candidates: the classes to choose from; None: all.
        """
        labels = best = None
        for classes in self.chunks():
            chosen = [
                label for label in range(classes.start, classes.stop) if candidates is None or label in candidates
            ]
            scores = self.scores(classes) if chosen else ()
            for label in chosen:
                score = scores[label - classes.start]
                if best is None:
                    best, labels = score.clone(), torch.full_like(score, label, dtype=torch.int64)
                else:
                    # Strictly: of equal classes the first one wins, as in argmax.
                    labels.masked_fill_(score > best, label)
                    torch.maximum(best, score, out=best)
        return labels

    def chunks(self) -> Iterator[slice]:
        """Parts of the classes.

        PyTorch's kernels round differently for three channels, and for what is left over of eight. So chunks begin at
        multiples of eight and have no fewer: then all bits are those of the whole.
        """
        step = max(1, CHUNK_BYTES // (4 * self.pixels * MIN_CHUNK)) * MIN_CHUNK
        starts = [*range(0, max(1, self.num_classes - MIN_CHUNK + 1), step), self.num_classes]
        yield from map(slice, starts, starts[1:])


class Prediction(Scores):
    """What a model says about an image."""

    def __init__(self, windows: Sequence[Window], image_size: tuple[int, int], output_size: tuple[int, int]) -> None:
        """
        Args:
            windows: cover the image; where they overlap, logits are averaged.
            image_size: H, W.
            output_size: height and width of the answers.
        """
        pixels = max(height * width for height, width in (image_size, output_size))
        super().__init__(len(windows[0].logits), pixels)
        self.windows = windows
        self.image_size = image_size
        self.output_size = output_size
        self._counts = None
        if len(windows) > 1:
            self._counts = torch.zeros(image_size, device=windows[0].logits.device)
            for window in windows:
                self._counts[window.rows, window.columns] += 1

    def logits(self, classes: slice = slice(None)) -> Tensor:
        """Logits (K, height, width) of all classes, or of some."""
        if self._counts is None:
            logits = self.windows[0].upsample(classes)
        else:
            num_classes = len(range(self.num_classes)[classes])
            logits = self._counts.new_zeros(num_classes, *self.image_size)
            for window in self.windows:
                logits[:, window.rows, window.columns] += window.upsample(classes)
            logits /= self._counts
        return sem_seg_postprocess(logits, self.image_size, *self.output_size)

    def scores(self, classes: slice = slice(None)) -> Tensor:
        """The same as :meth:`logits`."""
        return self.logits(classes)

    def log_sum_exp(self, chunks: Iterable[slice] | None = None) -> Tensor:
        """What turns logits into log-probabilities: the logarithm of the sum of exponentials over all classes.

        Args:
            chunks: the parts of the classes that are brought to full size one after another; None: :meth:`chunks`.

        Returns:
            (height, width) float32.
        """
        parts = (self.logits(classes).float().logsumexp(dim=0) for classes in chunks or self.chunks())
        return reduce(torch.logaddexp, parts)


class View(NamedTuple):
    """One of several predictions about the same image."""

    prediction: Prediction
    mirrored: bool  # the prediction is about the image mirrored left to right


class AveragedPrediction(Scores):
    """The mean of the probabilities of several predictions, as of an image seen at several scales and mirrored.

    The views' logits stay as coarse as they are; at full size there are the logarithm of each view's sum over the
    classes, and a few classes of one view at a time.
    """

    def __init__(self, views: Sequence[View]) -> None:
        """
        Args:
            views: all of one output size and class count.
        """
        super().__init__(views[0].prediction.num_classes, max(view.prediction.pixels for view in views))
        self.views = views

    def scores(self, classes: slice = slice(None)) -> Tensor:
        """Probabilities (K, height, width) of all classes, or of some: softmax of each view, turned back, averaged."""
        total = 0
        for (prediction, mirrored), log_sum in zip(self.views, self._log_sums, strict=True):
            probabilities = (prediction.logits(classes).float() - log_sum).exp_()
            total = total + (probabilities.flip(-1) if mirrored else probabilities)
        return total / len(self.views)

    @cached_property
    def _log_sums(self) -> list[Tensor]:
        return [view.prediction.log_sum_exp(self.chunks()) for view in self.views]


def whole_images(
    predict: Callable[[Tensor], Tensor], images: Tensor, image_sizes: Sequence[tuple[int, int]]
) -> list[list[Window]]:
    """Predict a padded batch, each image as its only window.

    Args:
        predict: as for :func:`sliding_windows`.
        images: normalized, (B, 3, H, W), sides multiples of what `predict` wants.
        image_sizes: height and width of each image without its padding.
    """
    padded = tuple(images.shape[-2:])
    return [
        [Window(logits.contiguous(), padded, slice(0, height), slice(0, width))]
        for logits, (height, width) in zip(predict(images), image_sizes, strict=True)
    ]


def sliding_windows(
    predict: Callable[[Tensor], Tensor], image: Tensor, size: int, stride: int, batch_size: int, divisor: int
) -> list[Window]:
    """Predict overlapping windows of an image.

    The last window of each row and column ends at the border. An image smaller than a window is one window of its size.

    Args:
        predict: normalized images (N, 3, H, W), sides multiples of `divisor` -> coarse logits (N, K, h, w).
        image: normalized, (3, H, W).
        size: side of a window, in pixels.
        stride: step between windows, in pixels, at most `size`.
        batch_size: windows that `predict` gets at once, at most.
        divisor: windows are padded with zeros to multiples of this.
    """
    height, width = image.shape[-2:]
    window = (min(size, height), min(size, width))
    places = [
        (slice(top, top + window[0]), slice(left, left + window[1]))
        for top in _starts(height, size, stride)
        for left in _starts(width, size, stride)
    ]
    padding = (0, -window[1] % divisor, 0, -window[0] % divisor)
    windows = []
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        images = F.pad(torch.stack([image[:, rows, columns] for rows, columns in batch]), padding)
        for place, logits in zip(batch, predict(images), strict=True):
            windows.append(Window(logits.contiguous(), tuple(images.shape[-2:]), *place))
    return windows


def _starts(length: int, size: int, stride: int) -> list[int]:
    """First pixel of each window along a side."""
    steps = max(0, -(-(length - size) // stride))
    return [min(step * stride, max(0, length - size)) for step in range(steps + 1)]
