"""The FPN over joined maps without the concatenation and without fine score maps.

``lateral(concat[f, A])`` is ``W_f f + W_a A``, and ``W_a A`` is folded with the up-sampling that A comes from; see
`icpc_d2.modeling.fast.folding`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.folding import Chain, Kernel, Plan, UpSteps, fold, make_plan
from icpc_d2.modeling.fast.lazy_alignment import ScoreMaps
from icpc_d2.modeling.neck import AlignedFPN, JoinedMaps, Lateral


class LateralInput(NamedTuple):
    """The two halves of a joined map: a feature map, and chains of up-sampling steps that sum to the score map."""

    feature: Tensor  # (B, channels, h, w)
    scores: ScoreMaps
    chains: Sequence[Chain] = ()
    splits: Sequence[int] = ()


class PlannedMaps(JoinedMaps):
    """Joins nothing, but plans how the scores reach the laterals with the fewest multiply-adds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.out_channels = 0  # of the laterals, set by `FoldedFPN`
        self._plans: dict[tuple, Plan] = {}

    def forward(self, inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, LateralInput]:
        """Plan for features and scores by level; maps that the scores hold already serve as sources."""
        features, scores = inputs
        if not isinstance(scores, ScoreMaps):
            scores = ScoreMaps(scores, {})
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
            scores.compute(level)
        return {
            level: LateralInput(features[level], scores, plan.chains.get(level, ()), plan.splits.get(level, ()))
            for level in self._shapes
        }


class FoldedLateral(Lateral):
    """FPN's 1x1 convolution of both halves of a joined map, the one of the scores folded with their up-sampling."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kernels: WeightCache[dict[tuple[str, UpSteps], Kernel]] = WeightCache()

    def forward(self, x: LateralInput) -> Tensor:
        """Convolve (B, channels, h, w) and scores to (B, O, h, w)."""
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

    def train(self, mode: bool = True) -> "FoldedLateral":
        """Set the mode, and forget the folded kernels."""
        self._kernels.clear()
        return super().train(mode)

    def _fold(self, x: LateralInput) -> dict[tuple[str, UpSteps], Kernel]:
        """Return the kernels to apply, by the source and the steps that run before; equal ones are summed."""
        weight = self.conv.weight[:, self.channels :, 0, 0]
        kernels: dict[tuple[str, UpSteps], Kernel] = {}
        products: dict = {}
        for (source, steps), split in zip(x.chains, x.splits, strict=True):
            if split < len(steps):
                kernel = fold(weight, steps[split:], products)
                before = kernels.get((source, steps[:split]))
                if before is not None:
                    kernel = Kernel(kernel.weight + before.weight, kernel.bias + before.bias)
                kernels[source, steps[:split]] = kernel
        return kernels


class FoldedFPN(AlignedFPN):
    """An FPN over features and score maps whose laterals fold the up-sampling of the scores."""

    joined_maps = PlannedMaps
    lateral = FoldedLateral

    def __init__(self, *args: Any, out_channels: int, **kwargs: Any) -> None:
        super().__init__(*args, out_channels=out_channels, **kwargs)
        self.bottom_up.out_channels = out_channels
