"""Class names as CLIP's BPE tokens, grouped by length so that nothing is padded."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from open_clip import SimpleTokenizer
from torch import Tensor, nn

from icpc_d2.modeling.fast.cache import WeightCache

_tokenizer = SimpleTokenizer()


class TokenBlock(NamedTuple):
    """Tokens of some of the classes, those of equal length side by side; M tokens in all.

    Attributes:
        shapes: (K_g, L_g) of each group of classes with L_g tokens, EOT included.
        ids: (M,) token ids of all groups, one group after the other.
        positions: (M,) offset of each token in its own class, 0..L_g - 1.
        ends: index into `ids` of each class's EOT.
    """

    shapes: list[tuple[int, int]]
    ids: Tensor
    positions: Tensor
    ends: Tensor


class ClassTokens(nn.Module):
    """The tokens of a prompt that are not learned: ``[SOT, template words...]`` and, per class, ``[name..., EOT]``.

    Attributes:
        names: the K class names.
        prefix: (P,) token ids that all prompts begin with.
        shapes, ids, positions, ends: of all K classes, see :class:`TokenBlock`.
        order: (K,) place of class k among the groups.
        embeddings: what the text encoder made of them, where no image changes that.
    """

    prefix: Tensor
    ids: Tensor
    positions: Tensor
    ends: Tensor
    order: Tensor

    def __init__(self, names: Sequence[str], template: str, context_length: int, num_context: int = 0) -> None:
        """
        Args:
            names: class names, no two of which read alike.
            template: text with one ``{}`` that stands for the name.
            context_length: the tokens that the text encoder has positions for (CLIP: 77).
            num_context: learned tokens that a prompt inserts between the prefix and the name.

        Raises:
            ValueError: if there is no name, a name has no token, two names have the same tokens, or one does not fit
                into `context_length`.
        """
        super().__init__()
        self.names = list(names)
        self.template, self.context_length, self.num_context = template, context_length, num_context
        self.embeddings: WeightCache[Tensor] = WeightCache()
        before, after = template.split("{}")
        prefix = [_tokenizer.sot_token_id, *_tokenizer.encode(before)]
        tokens = [[*_tokenizer.encode(name + after), _tokenizer.eot_token_id] for name in names]
        _check(self.names, tokens, context_length - len(prefix) - num_context, context_length)

        groups = defaultdict(list)
        for index, ids in enumerate(tokens):
            groups[len(ids)].append(index)
        classes = [index for length in sorted(groups) for index in groups[length]]
        self.shapes = [(len(groups[length]), length) for length in sorted(groups)]
        lengths = [len(tokens[index]) for index in classes]
        self._add_buffer("prefix", torch.tensor(prefix))
        self._add_buffer("ids", torch.tensor([token for index in classes for token in tokens[index]]))
        self._add_buffer("positions", torch.cat([torch.arange(length) for length in lengths]))
        self._add_buffer("ends", torch.tensor(lengths).cumsum(0) - 1)
        self._add_buffer("order", torch.tensor(classes).argsort())

    def renamed(self, names: Sequence[str]) -> "ClassTokens":
        """The tokens of other classes for the same prompt, on the same device; errors as of the constructor."""
        tokens = ClassTokens(names, self.template, self.context_length, self.num_context).to(self.prefix.device)
        # The very same tensor: what the text encoder keeps of the prefix then serves all vocabularies.
        tokens.prefix = self.prefix
        return tokens

    def train(self, mode: bool = True) -> "ClassTokens":
        """Set the mode, and forget the embeddings."""
        self.embeddings.clear()
        return super().train(mode)

    def _add_buffer(self, name: str, value: Tensor) -> None:
        # Not persistent: they follow from the names, and a checkpoint must not override those of another vocabulary.
        self.register_buffer(name, value, persistent=False)

    def blocks(self, max_tokens: int) -> Iterator[TokenBlock]:
        """Split the classes, in the order of the groups, into blocks of at most `max_tokens` (but at least a class)."""
        begin = first = 0
        shapes: list[tuple[int, int]] = []
        tokens = classes = 0

        def block() -> TokenBlock:
            rows = slice(begin, begin + tokens)
            ends = self.ends[first : first + classes] - begin
            return TokenBlock(shapes, self.ids[rows], self.positions[rows], ends)

        for count, length in self.shapes:
            while count:
                fitting = min(count, (max_tokens - tokens) // length)
                if fitting <= 0 and shapes:
                    yield block()
                    begin, first, shapes, tokens, classes = begin + tokens, first + classes, [], 0, 0
                    continue
                fitting = max(1, fitting)
                shapes = [*shapes, (fitting, length)]
                tokens, classes, count = tokens + fitting * length, classes + fitting, count - fitting
        yield block()

    def __len__(self) -> int:
        return len(self.names)


def _check(names: list[str], tokens: list[list[int]], room: int, context_length: int) -> None:
    if not names:
        raise ValueError(
            "there are no class names; wanted is at least one (metadata `stuff_classes`, or MODEL.CLASS_NAMES)"
        )
    seen: dict[tuple[int, ...], str] = {}
    for name, ids in zip(names, tokens, strict=True):
        if not _tokenizer.encode(name):
            raise ValueError(f"class name {name!r} holds no text that CLIP can read; give the class a name")
        if len(ids) > room:
            raise ValueError(
                f"class name {name!r} is {len(ids) - 1} tokens long, but {room - 1} are left of CLIP's "
                f"{context_length} beside the prompt; shorten the name"
            )
        if tuple(ids) in seen:
            raise ValueError(
                f"classes {seen[tuple(ids)]!r} and {name!r} read alike to CLIP and would share one embedding; "
                "rename one of them"
            )
        seen[tuple(ids)] = name
