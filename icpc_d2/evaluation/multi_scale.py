"""Multi-scale testing: each image at several sizes and mirrored, probabilities averaged."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from torch import Tensor, nn

from icpc_d2.modeling.predictions import LazyProbabilities, View
from icpc_d2.modeling.segmentor import Segmentor


class MultiScale(nn.Module):
    """Wraps a segmentor and predicts as it does, with probabilities in place of logits.

    Each size is resized from the image as it comes in, which should be the one on disk, and predicted whole or by
    sliding window, as the segmentor does.

    Args:
        short_side, max_long_side: of the image at scale 1, in pixels.
        scales: factors on both.
        mirror: also predict each size mirrored left to right.

    Raises:
        ValueError: there is no scale, or one is not positive.
    """

    def __init__(
        self, model: Segmentor, *, short_side: int, max_long_side: int, scales: Sequence[float], mirror: bool
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"TEST.AUG.SCALES is {list(scales)}; wanted is one positive factor or more.")
        self.model = model
        self._mirror = mirror
        sides = [(max(1, round(scale * short_side)), max(1, round(scale * max_long_side))) for scale in scales]
        self._resizes = [T.ResizeShortestEdge(short, long) for short, long in sides]

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Return {"sem_seg": (K, height, width) probabilities} for each image; inputs as the model takes them."""
        return [{"sem_seg": prediction.scores()} for prediction in self.predictions(batched_inputs)]

    def label_maps(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Return {"labels": (height, width) int64} for each image."""
        return [{"labels": prediction.labels()} for prediction in self.predictions(batched_inputs)]

    def predictions(self, batched_inputs: list[dict[str, Any]]) -> list[LazyProbabilities]:
        """Predict a batch, one image after the other."""
        views = (list(self._views(inputs)) for inputs in batched_inputs)
        return [of_image[0].prediction.average(of_image) for of_image in views]

    def _views(self, inputs: dict[str, Any]) -> Iterator[View]:
        original = inputs["image"].permute(1, 2, 0).cpu().numpy()
        size = {"height": inputs.get("height", original.shape[0]), "width": inputs.get("width", original.shape[1])}
        for resize in self._resizes:
            resized = T.AugInput(original)
            resize(resized)
            image = torch.from_numpy(np.ascontiguousarray(resized.image.transpose(2, 0, 1)))
            images = [image, image.flip(-1)] if self._mirror else [image]
            predictions = self.model.predictions([{**size, "image": image} for image in images])
            yield from map(View, predictions, (False, True))
