"""Class tokens packed behind one prefix: ``[SOT, V, I, name_1, EOT, name_2, EOT, ...]``, with few tokens of padding.

Sequences share the prefix: tokens lie side by side, the prefix once, and are laid out in sequences to attend alone.

Shapes: K classes in S sequences of at most M names, T tokens of the names of a sequence, n of the prefix, L = n + T.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.cuda_graphs import RecordedCalls
from icpc_d2.modeling.text.class_tokens import ClassTokens

# Attention costs the square of a sequence, and each lets its own copy of the prefix attend.
SEQUENCE_TOKENS = 64


class PackedSequences(NamedTuple):
    """Sequences of one vocabulary."""

    ids: Tensor  # (S, T) token ids
    offsets: Tensor  # (S, T) place of each token in its own name
    # (S, 1, L, L), added to attention: 0 where a token (row) sees another, which is the prefix and its own name up to
    # itself; elsewhere minus infinity. PyTorch would turn a mask of booleans into this in every layer.
    mask: Tensor
    eot_positions: Tensor  # (S, M) where the names end among the T tokens; 0 where a sequence has fewer than M
    eot_mask: Tensor  # (S, 1, M, L), the rows of `mask` at these positions

    def split(self, tokens: Tensor) -> Tensor:
        """Lay tokens (B, n + S * T, E) out in sequences behind a copy of the prefix each, (B * S, L, E)."""
        num_names = self.ids.numel()
        prefix, names = tokens.split([tokens.shape[1] - num_names, num_names], dim=1)
        names = names.unflatten(1, self.ids.shape)
        return torch.cat([prefix[:, None].expand(-1, len(self.ids), -1, -1), names], dim=2).flatten(0, 1)

    def join(self, sequences: Tensor) -> Tensor:
        """Undo :meth:`split`, as the prefix is alike in all sequences of an image."""
        count, num_tokens = self.ids.shape
        prefix, names = sequences.split([sequences.shape[1] - num_tokens, num_tokens], dim=1)
        return torch.cat([prefix.unflatten(0, (-1, count))[:, 0], names.unflatten(0, (-1, count)).flatten(1, 2)], dim=1)


class PackedClassTokens(ClassTokens):
    """Class tokens that can also be had as packed sequences.

    Attributes:
        packed_order: place of each name among the S * M places of the sequences.
        embeddings: what the text encoder made of the classes, where no image changes that.
        encodings: where an image does, how the text encoder computes it on a GPU.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.embeddings: WeightCache[Tensor] = WeightCache()
        self.encodings = RecordedCalls()
        bins = _pack(self.lengths, SEQUENCE_TOKENS)
        num_prefix = len(self.prefix) + self.num_context
        lengths = [torch.tensor([self.lengths[k] for k in names]) for names in bins]
        rows = [[self.ids[k, : self.lengths[k]] for k in names] for names in bins]
        ids = _pad([torch.cat(row) for row in rows])
        owners = _pad([torch.cat([torch.full_like(name, 1 + i) for i, name in enumerate(row)]) for row in rows])
        mask = torch.ones(len(bins), num_prefix + ids.shape[1], num_prefix + ids.shape[1], dtype=torch.bool)
        mask[:, num_prefix:, num_prefix:] = owners[:, :, None] == owners[:, None]
        mask = torch.zeros(mask.shape).masked_fill(~mask.tril(), -torch.inf)[:, None]
        eot_positions = _pad([length.cumsum(0) - 1 for length in lengths])
        offsets = _pad([torch.cat([torch.arange(len(name)) for name in row]) for row in rows])
        eot_mask = mask.take_along_dim(num_prefix + eot_positions[:, None, :, None], dim=2)
        packed = PackedSequences(ids, offsets, mask, eot_positions, eot_mask)
        for name, value in packed._asdict().items():
            self.register_buffer(f"packed_{name}", value, persistent=False)
        places = {
            k: index * eot_positions.shape[1] + i for index, names in enumerate(bins) for i, k in enumerate(names)
        }
        self.register_buffer("packed_order", torch.tensor([places[k] for k in range(len(self.ids))]), persistent=False)

    def train(self, mode: bool = True) -> "PackedClassTokens":
        """Set the mode, and forget the embeddings and how they were computed."""
        self.embeddings.clear()
        self.encodings.clear()
        return super().train(mode)

    def sequences(self, max_tokens: int) -> Iterator[PackedSequences]:
        """Yield the sequences in parts of at most `max_tokens` tokens (but at least a sequence)."""
        packed = PackedSequences(*(getattr(self, f"packed_{name}") for name in PackedSequences._fields))
        count = max(1, max_tokens // packed.mask.shape[-1])
        for first in range(0, len(packed.ids), count):
            yield PackedSequences(*(tensor[first : first + count] for tensor in packed))


def _pad(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)


def _pack(lengths: list[int], max_tokens: int) -> list[list[int]]:
    """Share names out among as few sequences as hold them, the longest first, each to the sequence that is shortest."""
    bins: list[list[int]] = [[] for _ in range(-(-sum(lengths) // max_tokens))]
    totals = [0] * len(bins)
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        shortest = totals.index(min(totals))
        bins[shortest].append(index)
        totals[shortest] += lengths[index]
    return bins
