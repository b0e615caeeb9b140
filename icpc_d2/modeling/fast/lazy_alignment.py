"""The alignment whose fine score maps exist only if something asks for them (Eq. 8).

Shapes: B images, K classes, C joint embedding width, h x w positions of the dense embedding.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from icpc_d2.modeling.alignment import MultiScaleAlignment, Up
from icpc_d2.modeling.resizing import resize_to


class ScoreMaps(Mapping[str, Tensor]):
    """The maps A by level; those that are sums of up-sampled others are computed when first asked for."""

    def __init__(self, cosines: Mapping[str, Tensor], terms: Mapping[str, Sequence[tuple[str, Up]]]) -> None:
        """
        Args:
            cosines: level -> (B, K, H / stride, W / stride), in [-1, 1].
            terms: level -> the (level, up-sampling) pairs whose sum it is.
        """
        self.computed = dict(cosines)
        self.terms = terms

    def __getitem__(self, level: str) -> Tensor:
        if level not in self.computed:
            maps = [up(self[source]) for source, up in self.terms[level]]
            self.computed[level] = sum(resize_to(x, maps[-1].shape[2:]) for x in maps)
        return self.computed[level]

    def __contains__(self, level: object) -> bool:
        return level in self.computed or level in self.terms

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.computed, *self.terms])

    def __len__(self) -> int:
        return len(self.computed.keys() | self.terms.keys())


class LazyMultiScaleAlignment(MultiScaleAlignment):
    """Eq. 8 with the two finer maps left open."""

    def forward(self, dense_embed: Tensor, text: Tensor) -> ScoreMaps:
        """Compute the cosines from (B, C, h, w) and (B, K, C), and say how the other maps follow from them."""
        terms = {
            "res3": [("res5", self.up_32_to_8), ("res4", self.up_16_to_8)],
            "res2": [("res5", self.up_32_to_4), ("res4", self.up_16_to_4), ("res3", self.up_8_to_4)],
        }
        return ScoreMaps(self.cosines(dense_embed, text), terms)
