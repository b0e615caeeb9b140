"""Detectron2's FPN on the backbone's maps, each concatenated with the score map of its level."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from icpc_d2.modeling.fpn import AnySizeFPN
from icpc_d2.modeling.resizing import resize_to


def join(feature: Tensor, score_map: Tensor) -> Tensor:
    """Concatenate a map (B, channels, h, w) and a score map of K channels, brought to its size."""
    return torch.cat([feature, resize_to(score_map, feature.shape[2:])], dim=1)


class JoinedMaps(Backbone):
    """The maps below the FPN: ``concat[f, A]`` at each level that has a score map, elsewhere f alone."""

    def __init__(self, shapes: Mapping[str, ShapeSpec], score_levels: Sequence[str], num_classes: int) -> None:
        super().__init__()
        self.score_levels = tuple(level for level in shapes if level in score_levels)
        self.num_classes = num_classes
        self._shapes = {
            level: ShapeSpec(channels=shape.channels + num_classes * (level in score_levels), stride=shape.stride)
            for level, shape in shapes.items()
        }

    def forward(self, inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join features and scores by level, (B, channels, h, w) and (B, K, h, w)."""
        features, scores = inputs
        joined = {level: features[level] for level in self._shapes}
        for level in self.score_levels:
            joined[level] = join(features[level], scores[level])
        return joined

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each level."""
        return dict(self._shapes)


class Lateral(nn.Module):
    """FPN's 1x1 convolution of a joined map; its weight holds a part for the features and one for the scores."""

    def __init__(self, conv: Conv2d, channels: int) -> None:
        """
        Args:
            conv: takes `channels` of the feature map, then those of the score map.
        """
        super().__init__()
        self.conv = conv
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, channels + K, h, w) to (B, O, h, w)."""
        return self.conv(x)


class AlignedFPN(AnySizeFPN):
    """An FPN over features and score maps; call it with the pair (features, scores), both by level."""

    joined_maps: type[JoinedMaps] = JoinedMaps
    lateral: type[Lateral] = Lateral

    def __init__(
        self, shapes: Mapping[str, ShapeSpec], score_levels: Sequence[str], num_classes: int, **fpn: Any
    ) -> None:
        """
        Args:
            shapes: of the backbone's maps, from fine to coarse.
            score_levels: levels that have a score map.
            num_classes: K, channels of a score map.
            fpn: `out_channels` and further arguments of :class:`icpc_d2.modeling.fpn.AnySizeFPN`.
        """
        joined = self.joined_maps(shapes, score_levels, num_classes)
        super().__init__(joined, list(shapes), **fpn)
        stages = [name for name, _ in self.named_children() if name.startswith("fpn_lateral")]
        for stage, shape in zip(stages, shapes.values(), strict=True):
            setattr(self, stage, self.lateral(getattr(self, stage), shape.channels))
        # FPN keeps its laterals in a list of its own, from coarse to fine.
        self.lateral_convs = [getattr(self, stage) for stage in reversed(stages)]
