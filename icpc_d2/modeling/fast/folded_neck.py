"""The FPN over joined maps without the concatenation and without fine score maps.

``lateral(concat[f, A])`` is ``W_f f + W_a A``, and ``W_a A`` is folded with the up-sampling that A comes from; see
`icpc_d2.modeling.fast.folding`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.folding import Chain, Kernel, count_folded, count_plain, expand, fold
from icpc_d2.modeling.fast.lazy_alignment import ScoreMaps
from icpc_d2.modeling.neck import AlignedFPN, JoinedMaps, Lateral


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
        self._kernels: WeightCache[dict[str, Kernel]] = WeightCache()

    def forward(self, x: LateralInput) -> Tensor:
        """Convolve (B, channels, h, w) and scores (B, K, h, w) to (B, O, h, w)."""
        weight, scores = self.conv.weight, x.scores
        out = F.conv2d(x.feature, weight[:, : self.channels], self.conv.bias)
        chains = self._chains_to_fold(x)
        if chains:
            weights = [weight, *(p for chain in chains for step in chain.steps for p in step.conv.parameters())]
            kernels = self._kernels.get(weights, tuple(chains), lambda: fold(weight[:, self.channels :, 0, 0], chains))
            for source, kernel in kernels.items():
                out = kernel.add_to(out, scores[source])
        elif x.level in scores:
            out = out + F.conv2d(scores[x.level], weight[:, self.channels :])
        return out if self.conv.norm is None else self.conv.norm(out)

    def train(self, mode: bool = True) -> "FoldedLateral":
        """Set the mode, and forget the folded kernels."""
        self._kernels.clear()
        return super().train(mode)

    def _chains_to_fold(self, x: LateralInput) -> list[Chain]:
        """Return the chains that lead to the score map, if it does not exist and folding them costs less than it."""
        sources, terms = x.scores.computed, x.scores.terms
        if x.level in sources or x.level not in terms:
            return []
        chains = expand(x.level, terms, sources)
        sizes = (x.feature[:, 0].numel(), self.conv.in_channels - self.channels, self.conv.out_channels)
        folded = count_folded(chains, *sizes, composing=torch.is_grad_enabled())
        return chains if folded < count_plain(x.level, terms, sources, *sizes) else []


class FoldedFPN(AlignedFPN):
    """An FPN over features and score maps whose laterals fold the up-sampling of the scores."""

    joined_maps = UnjoinedMaps
    lateral = FoldedLateral
