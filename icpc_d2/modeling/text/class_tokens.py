"""Class names as CLIP's BPE tokens."""

from collections.abc import Sequence

import torch
from open_clip import SimpleTokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

_tokenizer = SimpleTokenizer()


class ClassTokens(nn.Module):
    """The tokens of a prompt that are not learned: ``[SOT, template words...]`` and, per class, ``[name..., EOT]``.

    Attributes:
        names: the K class names.
        prefix: (P,) token ids that all prompts begin with.
        ids: (K, T) token ids of each name and EOT, which also fills up the rows of shorter names.
        eot_positions: (K,) place of EOT in each row.
        lengths: of the K names in tokens, with EOT; numbers, on whatever device the model is built.
    """

    prefix: Tensor
    ids: Tensor
    eot_positions: Tensor

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
        before, after = template.split("{}")
        eot = _tokenizer.eot_token_id
        prefix = [_tokenizer.sot_token_id, *_tokenizer.encode(before)]
        tokens = [[*_tokenizer.encode(name + after), eot] for name in names]
        _check(self.names, tokens, context_length - len(prefix) - num_context, context_length)
        self.lengths = [len(row) for row in tokens]
        rows = [torch.tensor(row) for row in tokens]
        # Not persistent: they follow from the names, and a checkpoint must not override those of another vocabulary.
        self.register_buffer("prefix", torch.tensor(prefix), persistent=False)
        self.register_buffer("ids", pad_sequence(rows, batch_first=True, padding_value=eot), persistent=False)
        self.register_buffer("eot_positions", torch.tensor(self.lengths) - 1, persistent=False)

    def renamed(self, names: Sequence[str]) -> "ClassTokens":
        """Return the tokens of other classes for the same prompt, on the same device; errors as of the constructor."""
        tokens = type(self)(names, self.template, self.context_length, self.num_context).to(self.prefix.device)
        # The very same tensor: what is kept of the prefix then serves all vocabularies.
        tokens.prefix = self.prefix
        return tokens

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
