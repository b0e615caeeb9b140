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
        resizes: one for each size.
        mirror: also predict each size mirrored left to right.
    """

    def __init__(self, model: Segmentor, resizes: Sequence[T.Augmentation], mirror: bool) -> None:
        super().__init__()
        self.model = model
        self.flips = (False, True) if mirror else (False,)  # of the images of each size
        self._resizes = list(resizes)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Return {"sem_seg": (K, height, width) probabilities} for each image; inputs as the model takes them."""
        return [{"sem_seg": prediction.scores()} for prediction in self.predictions(batched_inputs)]

    def label_maps(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Return {"labels": (height, width) int64} for each image."""
        return [{"labels": prediction.labels()} for prediction in self.predictions(batched_inputs)]

    def predictions(self, batched_inputs: list[dict[str, Any]]) -> list[LazyProbabilities]:
        """Predict a batch, one image after the other."""
        return [self._predict(inputs) for inputs in batched_inputs]

    def _predict(self, inputs: dict[str, Any]) -> LazyProbabilities:
        views = []
        for images in self.views(inputs):
            views += map(View, self.model.predictions(images), self.flips)
        return views[0].prediction.average(views)

    def views(self, inputs: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        """Yield for each size the inputs of the model: the image and, if so asked, the same mirrored."""
        original = inputs["image"].permute(1, 2, 0).cpu().numpy()
        size = {"height": inputs.get("height", original.shape[0]), "width": inputs.get("width", original.shape[1])}
        for resize in self._resizes:
            resized = T.AugInput(original)
            resize(resized)
            image = torch.from_numpy(np.ascontiguousarray(resized.image.transpose(2, 0, 1)))
            yield [{**size, "image": image.flip(-1) if mirrored else image} for mirrored in self.flips]
