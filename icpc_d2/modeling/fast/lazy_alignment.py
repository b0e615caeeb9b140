"""The alignment whose fine score maps exist only if something asks for them (Eq. 8).

Shapes: B images, K classes, C joint embedding width, h x w positions of the dense embedding.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from icpc_d2.modeling.alignment import MultiScaleAlignment, Up
from icpc_d2.modeling.fast.folding import UpStep, UpSteps


class ScoreMaps(Mapping[str, Tensor]):
    """The maps A by level; those that are sums of up-sampled others are computed when first asked for."""

    def __init__(self, cosines: Mapping[str, Tensor], terms: dict[str, list[tuple[str, Up]]]) -> None:
        """
        Args:
            cosines: level -> (B, K, H / stride, W / stride), in [-1, 1].
            terms: level -> the (level, up-sampling) pairs whose sum it is.
        """
        self.computed = dict(cosines)
        self.terms = terms
        self._partial: dict[tuple[str, UpSteps], Tensor] = {}

    def __getitem__(self, level: str) -> Tensor:
        return self.compute(level)

    def compute(self, level: str) -> Tensor:
        """Return the map of a level, which exists from now on."""
        if level not in self.computed:
            self.computed[level] = sum(self.partial(source, tuple(map(UpStep, up))) for source, up in self.terms[level])
        return self.computed[level]

    def partial(self, source: str, steps: UpSteps) -> Tensor:
        """Run up-sampling steps on the map of a level; chains that begin alike share the work."""
        if not steps:
            return self[source]
        if (source, steps) not in self._partial:
            self._partial[source, steps] = steps[-1](self.partial(source, steps[:-1]))
        return self._partial[source, steps]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.computed, *self.terms])

    def __len__(self) -> int:
        return len(list(iter(self)))


class LazyMultiScaleAlignment(MultiScaleAlignment):
    """Eq. 8 with the two finer maps left open."""

    def forward(self, dense_embed: Tensor, text: Tensor) -> ScoreMaps:
        """Compute the cosines from (B, C, h, w) and (B, K, C), and say how the other maps follow from them."""
        terms = {
            "res3": [("res5", self.up_32_to_8), ("res4", self.up_16_to_8)],
            "res2": [("res5", self.up_32_to_4), ("res4", self.up_16_to_4), ("res3", self.up_8_to_4)],
        }
        return ScoreMaps(self.cosines(dense_embed, text), terms)
