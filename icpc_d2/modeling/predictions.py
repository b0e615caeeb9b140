"""Predictions, kept as coarse as the model makes them and brought to full size when they are asked for.

Shapes: K classes, h x w positions of coarse logits, H x W pixels of the image as the model sees it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor
from torch.nn import functional as F


class Window(NamedTuple):
    """A part of an image, perhaps all of it, and its logits."""

    logits: Tensor  # (K, h, w), of the window with its padding
    padded: tuple[int, int]  # height and width in pixels, with the padding at the bottom and on the right
    rows: slice  # of the image
    columns: slice

    def upsample(self, classes: slice) -> Tensor:
        """Return the logits of some classes for each pixel of the window."""
        logits = F.interpolate(self.logits[None, classes], size=self.padded, mode="bilinear", align_corners=False)[0]
        return logits[:, : self.rows.stop - self.rows.start, : self.columns.stop - self.columns.start]


class LazyScores(ABC):
    """Scores of K classes at each pixel of a prediction."""

    num_classes: int  # K
    pixels: int  # how many a class has while it is computed, at most

    @abstractmethod
    def scores(self, classes: slice = slice(None)) -> Tensor:
        """Return the scores (K, height, width) of all classes, or of some."""

    @abstractmethod
    def probabilities(self, classes: slice = slice(None)) -> Tensor:
        """Return the softmax over all classes at each pixel, (K, height, width), of all classes or of some."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "LazyScores":
        """Return the same prediction in the memory of another device."""

    @torch.no_grad()
    def labels(self, candidates: Collection[int] | None = None) -> Tensor:
        """Return the class of the highest score at each pixel, (height, width) int64.

        Args:
            candidates: the classes to choose from; None: all.
        """
        if candidates is None:
            return self.scores().argmax(dim=0)
        chosen = torch.tensor(sorted(candidates))
        scores = self.scores()
        return chosen.to(scores.device)[scores[chosen].argmax(dim=0)]

    @abstractmethod
    def losses(self, labels: Tensor) -> Tensor:
        """Return the cross-entropy at each pixel, (height, width) float32, for class ids (height, width)."""


class LazyLogits(LazyScores):
    """A model's logits for one image."""

    def __init__(self, windows: Sequence[Window], image_size: tuple[int, int], output_size: tuple[int, int]) -> None:
        """
        Args:
            windows: cover the image; where they overlap, logits are averaged.
            image_size: H, W.
            output_size: height and width of the prediction.
        """
        self.num_classes = len(windows[0].logits)
        self.pixels = max(height * width for height, width in (image_size, output_size))
        self.windows = windows
        self.image_size = image_size
        self.output_size = output_size
        self._counts = None
        if len(windows) > 1:
            self._counts = torch.zeros(image_size, device=windows[0].logits.device)
            for window in windows:
                self._counts[window.rows, window.columns] += 1

    def logits(self, classes: slice = slice(None)) -> Tensor:
        """Return the logits (K, height, width) of all classes, or of some."""
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
        """Return the same as :meth:`logits`."""
        return self.logits(classes)

    def probabilities(self, classes: slice = slice(None)) -> Tensor:
        """Return the softmax of the logits."""
        return (self.logits(classes).float() - self._log_sum).exp_().clamp_(max=1)

    def to(self, device: torch.device | str) -> "LazyLogits":
        """Return the same prediction in the memory of another device."""
        windows = [window._replace(logits=window.logits.to(device)) for window in self.windows]
        return type(self)(windows, self.image_size, self.output_size)

    @cached_property
    def _log_sum(self) -> Tensor:
        return self.log_sum_exp()

    def log_sum_exp(self) -> Tensor:
        """Return the logarithm of the sum of exponentials over all classes, (height, width) float32."""
        return self.logits().float().logsumexp(dim=0)

    def losses(self, labels: Tensor) -> Tensor:
        """Return minus the logarithm of each pixel's probability of its class, (height, width) float32."""
        logits = self.logits().float()
        return F.cross_entropy(logits[None], labels[None].to(logits.device), reduction="none")[0]

    def average(self, views: Sequence["View"]) -> "LazyProbabilities":
        """Return the mean of the probabilities of several predictions, this and others of the image."""
        return LazyProbabilities(views)


class View(NamedTuple):
    """One of several predictions about the same image."""

    prediction: LazyLogits
    mirrored: bool  # the prediction is about the image mirrored left to right


class LazyProbabilities(LazyScores):
    """The mean of the probabilities of several predictions, as of an image seen at several scales and mirrored."""

    def __init__(self, views: Sequence[View]) -> None:
        """
        Args:
            views: all of one output size and class count.
        """
        self.num_classes = views[0].prediction.num_classes
        self.pixels = max(view.prediction.pixels for view in views)
        self.views = views

    def scores(self, classes: slice = slice(None)) -> Tensor:
        """Return the probabilities (K, height, width) of all classes, or of some: softmax of each view, averaged."""
        total = 0
        for (prediction, mirrored), log_sum in zip(self.views, self._log_sums, strict=True):
            probabilities = (prediction.logits(classes).float() - log_sum).exp_()
            total = total + (probabilities.flip(-1) if mirrored else probabilities)
        return total / len(self.views)

    def probabilities(self, classes: slice = slice(None)) -> Tensor:
        """Return the same as :meth:`scores`."""
        return self.scores(classes)

    def to(self, device: torch.device | str) -> "LazyProbabilities":
        """Return the same prediction in the memory of another device."""
        return type(self)([View(prediction.to(device), mirrored) for prediction, mirrored in self.views])

    def losses(self, labels: Tensor) -> Tensor:
        """Return minus the logarithm of each pixel's probability of its class, (height, width) float32."""
        logs = []
        for prediction, mirrored in self.views:
            losses = prediction.losses(labels.flip(-1) if mirrored else labels)
            logs.append(-losses.flip(-1) if mirrored else -losses)
        return math.log(len(logs)) - torch.stack(logs).logsumexp(dim=0)

    @cached_property
    def _log_sums(self) -> list[Tensor]:
        return [view.prediction.log_sum_exp() for view in self.views]
