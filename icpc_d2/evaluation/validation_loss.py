"""The validation loss: L_seg over a whole data set, of the predictions that are evaluated."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F


class ValidationLoss:
    """The mean cross-entropy over all labelled pixels of a data set, at the size of its label maps.

    Every pixel counts alike, or by the weight of its class, whatever image, batch and process it is in: sums of images
    are added at the end, rounded once.

    Args:
        class_weights: of the K classes as in training; empty: all alike.
    """

    def __init__(self, class_weights: Sequence[float] = ()) -> None:
        self._weights = np.array(class_weights, np.float64)
        self._sums: list[tuple[float, float]] | None = []

    def reset(self) -> None:
        """Forget all images."""
        self._sums = []

    def add(self, output: Mapping[str, Any], label: np.ndarray, ignore_label: int) -> None:
        """Add an image.

        Args:
            output: has "prediction", whose ``losses`` are asked for, or "sem_seg", logits (K, H, W). From a label map
                there is no loss, and then none of the data set.
            label: (H, W) int64, class ids or `ignore_label`.
        """
        labelled = label != ignore_label
        losses = _pixel_losses(output, torch.from_numpy(np.where(labelled, label, 0)))
        if losses is None or self._sums is None:
            self._sums = None
            return
        values = losses.cpu().numpy().astype(np.float64)[labelled]
        weights = self._weights[label[labelled]] if len(self._weights) else np.ones_like(values)
        self._sums.append((float(np.sum(values * weights)), float(np.sum(weights))))

    def collect(self) -> float | None:
        """Return the mean over the images of all processes, which must all call this; NaN: nothing is labelled.

        None in all processes but the main one, and where a prediction had no scores.
        """
        parts = comm.gather(self._sums)
        if not parts or any(part is None for part in parts):
            return None
        # Exactly rounded sums, which do not depend on the order.
        total, weight = (math.fsum(pair[index] for part in parts for pair in part) for index in (0, 1))
        return total / weight if weight > 0 else math.nan


def _pixel_losses(output: Mapping[str, Any], labels: Tensor) -> Tensor | None:
    """Return the cross-entropy (H, W) of an output and class ids (H, W); None: the output has no scores."""
    if "prediction" in output:
        return output["prediction"].losses(labels)
    scores = output.get("sem_seg")
    if scores is None or scores.ndim != 3:
        return None
    return F.cross_entropy(scores[None].float(), labels[None].to(scores.device), reduction="none")[0]
