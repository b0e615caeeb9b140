"""Class tokens grouped by the length of the names, so that nothing is padded."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.text.class_tokens import ClassTokens


class TokenBlock(NamedTuple):
    """Tokens of some of the classes, those of equal length side by side; M tokens in all.

    Attributes:
        group_sizes: (K_g, L_g) of each group of classes with L_g tokens, EOT included.
        ids: (M,) token ids of all groups, one group after the other.
        positions: (M,) offset of each token in its own class, 0..L_g - 1.
        eot_indices: index into `ids` of each class's EOT.
    """

    group_sizes: list[tuple[int, int]]
    ids: Tensor
    positions: Tensor
    eot_indices: Tensor


class GroupedClassTokens(ClassTokens):
    """Class tokens that can also be had in groups.

    Attributes:
        group_sizes, flat_ids, positions, eot_indices: of all K classes, see :class:`TokenBlock`.
        order: (K,) place of class k among the groups.
        embeddings: what the text encoder made of them, where no image changes that.
    """

    flat_ids: Tensor
    positions: Tensor
    eot_indices: Tensor
    order: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.embeddings: WeightCache[Tensor] = WeightCache()
        lengths = self.lengths
        groups = defaultdict(list)
        for index, length in enumerate(lengths):
            groups[length].append(index)
        self.group_sizes = [(len(groups[length]), length) for length in sorted(groups)]
        classes = [index for length in sorted(groups) for index in groups[length]]
        values = {
            "flat_ids": torch.cat([self.ids[index, : lengths[index]] for index in classes]),
            "positions": torch.cat([torch.arange(lengths[index]) for index in classes]),
            "eot_indices": torch.tensor([lengths[index] for index in classes]).cumsum(0) - 1,
            "order": torch.tensor(classes).argsort(),
        }
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    def train(self, mode: bool = True) -> "GroupedClassTokens":
        """Set the mode, and forget the embeddings."""
        self.embeddings.clear()
        return super().train(mode)

    def blocks(self, max_tokens: int) -> Iterator[TokenBlock]:
        """Split the classes, in the order of the groups, into blocks of at most `max_tokens` (but at least a class)."""
        begin = first = 0
        sizes: list[tuple[int, int]] = []
        tokens = classes = 0

        def block() -> TokenBlock:
            rows = slice(begin, begin + tokens)
            eot_indices = self.eot_indices[first : first + classes] - begin
            return TokenBlock(sizes, self.flat_ids[rows], self.positions[rows], eot_indices)

        for count, length in self.group_sizes:
            while count:
                fitting = min(count, (max_tokens - tokens) // length)
                if fitting <= 0 and sizes:
                    yield block()
                    begin, first, sizes, tokens, classes = begin + tokens, first + classes, [], 0, 0
                    continue
                fitting = max(1, fitting)
                sizes = [*sizes, (fitting, length)]
                tokens, classes, count = tokens + fitting * length, classes + fitting, count - fitting
        yield block()
