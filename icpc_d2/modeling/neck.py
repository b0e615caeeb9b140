"""Detectron2's FPN on the backbone's maps joined with the score maps.

``lateral(concat[f, A])`` is ``W_f f + W_a A``, and ``W_a A`` is folded with the up-sampling that A comes from, so that
neither the concatenation nor the fine score maps need to exist; see `icpc_d2.modeling.fast.folding`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone import FPN
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.alignment import ScoreMaps
from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.folding import Chain, Kernel, Plan, Steps, fold, make_plan


class LateralInput(NamedTuple):
    """What a lateral convolution gets."""

    feature: Tensor  # (B, channels, h, w)
    scores: ScoreMaps | None
    chains: Sequence[Chain] = ()
    splits: Sequence[int] = ()


class AlignedFPN(FPN):
    """An FPN over features and score maps; call it with the pair (features, scores)."""

    def __init__(
        self,
        shapes: Mapping[str, ShapeSpec],
        score_levels: Sequence[str],
        num_classes: int,
        *,
        out_channels: int,
        norm: str = "",
        fuse_type: str = "sum",
    ) -> None:
        """
        Args:
            shapes: of the backbone's maps, from fine to coarse.
            score_levels: levels that have a score map.
            num_classes: channels of a score map.
            out_channels, norm, fuse_type: as Detectron2's `FPN`.
        """
        joined = _JoinedShapes(shapes, score_levels, num_classes, out_channels)
        super().__init__(joined, list(shapes), out_channels, norm=norm, fuse_type=fuse_type)
        stages = [name for name, _ in self.named_children() if name.startswith("fpn_lateral")]
        for stage, shape in zip(stages, shapes.values(), strict=True):
            setattr(self, stage, Lateral(getattr(self, stage), shape.channels))
        # FPN keeps its laterals in a list of its own, from coarse to fine.
        self.lateral_convs = [getattr(self, stage) for stage in reversed(stages)]


class _JoinedShapes(Backbone):
    """Stands below FPN: reports the shapes of the joined maps, and plans how scores reach the laterals."""

    def __init__(
        self, shapes: Mapping[str, ShapeSpec], score_levels: Sequence[str], num_classes: int, out_channels: int
    ) -> None:
        super().__init__()
        self.score_levels = tuple(level for level in shapes if level in score_levels)
        self.num_classes = num_classes
        self.out_channels = out_channels
        self._shapes = {
            level: ShapeSpec(channels=shape.channels + num_classes * (level in score_levels), stride=shape.stride)
            for level, shape in shapes.items()
        }
        self._plans: dict[tuple, Plan] = {}

    def forward(self, inputs: tuple[Mapping[str, Tensor], ScoreMaps]) -> dict[str, LateralInput]:
        features, scores = inputs
        positions = {level: features[level][:, 0].numel() for level in self._shapes}
        terms = {level: pairs for level, pairs in scores.terms.items() if level not in scores.computed}
        composing = torch.is_grad_enabled()
        key = (*positions.values(), *terms, composing)
        if key not in self._plans:
            self._plans[key] = make_plan(
                terms, positions, self.score_levels, self.num_classes, self.out_channels, composing
            )
        plan = self._plans[key]
        for level in plan.materialized:
            scores[level]
        return {
            level: LateralInput(features[level], scores, plan.chains.get(level, ()), plan.splits.get(level, ()))
            for level in self._shapes
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)


class Lateral(nn.Module):
    """A 1x1 convolution of a feature map joined with a score map, whose weight holds both parts."""

    def __init__(self, conv: Conv2d, channels: int) -> None:
        """
        Args:
            conv: takes `channels` of the feature map, then those of the score map.
        """
        super().__init__()
        self.conv = conv
        self.channels = channels
        self._kernels: WeightCache[dict[tuple[str, Steps], Kernel]] = WeightCache()

    def forward(self, x: LateralInput) -> Tensor:
        """(B, channels, h, w) and scores -> (B, O, h, w)."""
        out = F.conv2d(x.feature, self.conv.weight[:, : self.channels], self.conv.bias)
        weights = [self.conv.weight, *(p for chain in x.chains for step in chain.steps for p in step.conv.parameters())]
        key = (tuple(x.chains), tuple(x.splits))
        for (source, steps), kernel in self._kernels.get(weights, key, lambda: self._fold(x)).items():
            out = kernel.add_to(out, x.scores.partial(source, steps))
        plain = [chain for chain, split in zip(x.chains, x.splits, strict=True) if split == len(chain.steps)]
        if plain:
            total = sum(x.scores.partial(*chain) for chain in plain)
            out = out + F.conv2d(total, self.conv.weight[:, self.channels :])
        return out if self.conv.norm is None else self.conv.norm(out)

    def train(self, mode: bool = True) -> "Lateral":
        """Set the mode, and forget the folded kernels."""
        self._kernels.clear()
        return super().train(mode)

    def _fold(self, x: LateralInput) -> dict[tuple[str, Steps], Kernel]:
        """The kernels to apply, by the source and the steps that run before; equal ones are summed."""
        weight = self.conv.weight[:, self.channels :, 0, 0]
        kernels: dict[tuple[str, Steps], Kernel] = {}
        products: dict = {}
        for (source, steps), split in zip(x.chains, x.splits, strict=True):
            if split < len(steps):
                kernel = fold(weight, steps[split:], products)
                before = kernels.get((source, steps[:split]))
                if before is not None:
                    kernel = Kernel(kernel.weight + before.weight, kernel.bias + before.bias)
                kernels[source, steps[:split]] = kernel
        return kernels
