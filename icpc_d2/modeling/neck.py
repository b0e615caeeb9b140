"""Detectron2's FPN on the backbone's maps joined with the score maps."""

from collections.abc import Mapping, Sequence

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone import FPN
from torch import Tensor


class ScoreConcat(Backbone):
    """Joins each score map to the feature map of its level; FPN wants a `Backbone` that reports the shapes below it."""

    def __init__(self, shapes: Mapping[str, ShapeSpec], score_levels: Sequence[str], num_classes: int) -> None:
        """
        Args:
            shapes: of the backbone's maps.
            score_levels: levels that have a score map of `num_classes` channels.
        """
        super().__init__()
        self.score_levels = tuple(score_levels)
        self._shapes = {
            level: ShapeSpec(channels=shape.channels + num_classes * (level in score_levels), stride=shape.stride)
            for level, shape in shapes.items()
        }

    def forward(self, inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """(features, scores) by level -> (B, channels + K, H / stride, W / stride) by level."""
        features, scores = inputs
        return {
            level: torch.cat([features[level], scores[level].to(features[level].dtype)], dim=1)
            if level in self.score_levels
            else features[level]
            for level in self._shapes
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each level."""
        return dict(self._shapes)


def build_neck(
    shapes: Mapping[str, ShapeSpec],
    score_levels: Sequence[str],
    num_classes: int,
    *,
    out_channels: int,
    norm: str,
    fuse_type: str,
) -> FPN:
    """Build the FPN whose lateral convolutions take features and scores; call it with the pair (features, scores)."""
    joined = ScoreConcat(shapes, score_levels, num_classes)
    return FPN(joined, list(shapes), out_channels, norm=norm, fuse_type=fuse_type)
