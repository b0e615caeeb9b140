"""The FPN over joined maps of which the fine ones are never joined, and need no score maps.

``lateral(concat[f, A])`` is ``W_f f + W_a A``, and ``W_a A`` is folded with the up-sampling that A comes from; see
`icpc_d2.modeling.fast.folding`.
"""

from collections.abc import Hashable, Mapping
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.dependencies import list_tensors
from icpc_d2.modeling.fast.folding import Chain, Kernel, UpStep, expand, fold
from icpc_d2.modeling.fast.form_choice import choose_form, count_forms
from icpc_d2.modeling.fast.lazy_alignment import ScoreMaps
from icpc_d2.modeling.neck import AlignedFPN, JoinedMaps, Lateral, join
from icpc_d2.modeling.resizing import may_differ, resize_to


class LateralInput(NamedTuple):
    """The two halves of a joined map, the score map perhaps not computed yet."""

    feature: Tensor  # (B, channels, h, w)
    scores: ScoreMaps
    level: str


class UnjoinedMaps(JoinedMaps):
    """Leaves features and scores for the laterals to join."""

    def forward(self, inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, LateralInput]:
        """Return the two halves by level."""
        features, scores = inputs
        if not isinstance(scores, ScoreMaps):
            scores = ScoreMaps(scores, {})
        return {level: LateralInput(features[level], scores, level) for level in self._shapes}


class FoldedLateral(Lateral):
    """FPN's 1x1 convolution of both halves of a joined map, the one of the scores folded with their up-sampling."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # The features' part of the weight, in one piece, and the kernels.
        self._kernels: WeightCache[tuple[Tensor, dict[str, Kernel]]] = WeightCache()
        self._forms: dict[Hashable, str] = {}  # what was chosen before, for the same sizes

    def forward(self, x: LateralInput) -> Tensor:
        """Convolve (B, channels, h, w) and scores (B, K, h, w) to (B, O, h, w)."""
        if x.level in x.scores.computed:
            # A coarse map: joining it takes less time than a convolution of its own, whose result is added.
            return self.conv(join(x.feature, x.scores[x.level]))
        if x.level not in x.scores.terms:
            return self.conv(x.feature)
        form = self._cheapest_form(x)
        out = self._add_map(x) if form == "plain" else self._add_folded(x, is_whole=form == "whole")
        return out if self.conv.norm is None else self.conv.norm(out)

    def _add_map(self, x: LateralInput) -> Tensor:
        """Convolve features and score map one by one."""
        weight = self.conv.weight
        out = F.conv2d(x.feature, weight[:, : self.channels], self.conv.bias)
        return out + F.conv2d(resize_to(x.scores[x.level], out.shape[2:]), weight[:, self.channels :])

    def _add_folded(self, x: LateralInput, is_whole: bool) -> Tensor:
        """Convolve the features, and what the score map is made of: existing maps, or some of half its resolution."""
        weight, scores = self.conv.weight, x.scores
        if is_whole:
            chains = expand(x.level, scores.terms, scores.computed)
            maps = {chain.source: scores[chain.source] for chain in chains}
        else:
            terms = {f"{x.level} from {source}": (source, up) for source, up in scores.terms[x.level]}
            chains = [Chain(name, (UpStep(up[-1]),)) for name, (_, up) in terms.items()]
            maps = {
                name: reduce(lambda x, step: step(x), list(up)[:-1], scores[source])
                for name, (source, up) in terms.items()
            }
        weights = list_tensors(weight, *(step.conv for chain in chains for step in chain.steps))
        feature_weight, kernels = self._kernels.get(weights, tuple(chains), lambda: self._fold(chains))
        out = F.conv2d(x.feature, feature_weight, self.conv.bias)
        for source, kernel in kernels.items():
            out = kernel.add_to(out, maps[source])
        return out

    def _fold(self, chains: list[Chain]) -> tuple[Tensor, dict[str, Kernel]]:
        features, scores = self.conv.weight.tensor_split([self.channels], dim=1)
        return features.contiguous(), fold(scores[:, :, 0, 0], chains)

    def train(self, mode: bool = True) -> "FoldedLateral":
        """Set the mode, and forget the folded kernels and the choices."""
        self._kernels.clear()
        self._forms.clear()
        return super().train(mode)

    def _cheapest_form(self, x: LateralInput) -> str:
        """Choose what takes the least time: no folding ("plain"), chains "whole", or their "last" steps."""
        if torch.compiler.is_compiling():
            return self._count_cheapest_form(x)
        sources = [(name, score_map.shape) for name, score_map in x.scores.computed.items()]
        terms = [(name, source, len(up)) for name, pairs in x.scores.terms.items() for source, up in pairs]
        key = (x.feature.shape, x.feature.device.type, torch.is_grad_enabled(), *sources, *terms)
        if key not in self._forms:
            self._forms[key] = self._count_cheapest_form(x)
        return self._forms[key]

    def _count_cheapest_form(self, x: LateralInput) -> str:
        sources, terms = x.scores.computed, x.scores.terms
        chains = expand(x.level, terms, sources)
        ends = [tuple(side * 2 ** len(chain.steps) for side in sources[chain.source].shape[2:]) for chain in chains]
        # Maps are interpolated on their way to the sum, which no kernel does.
        if any(may_differ(end, ends[0]) for end in ends):
            return "plain"
        sizes = (x.feature[:, 0].numel(), self.conv.in_channels - self.channels, self.conv.out_channels)
        # Kernels are kept between calls without gradients that are not compiled; what runs an exported file makes them
        # when it is loaded.
        compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        composing = torch.is_grad_enabled() or compiling
        costs = count_forms(x.level, terms, sources, *sizes, composing=composing)
        return choose_form(costs, x.feature.device.type)


class FoldedFPN(AlignedFPN):
    """An FPN over features and score maps whose laterals fold the up-sampling of the scores."""

    joined_maps = UnjoinedMaps
    lateral = FoldedLateral
