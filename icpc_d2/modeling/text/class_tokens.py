"""Class names as CLIP's BPE tokens."""

from collections.abc import Sequence

import torch
from open_clip import SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

_tokenizer = SimpleTokenizer()


class ClassTokens(nn.Module):
    """The tokens of a prompt that are not learned: ``[SOT, template words...]`` and, per name, ``[name..., EOT]``.

    Attributes:
        names: of the K classes, the first one of each.
        synonyms: all names of each of the K classes; M in all.
        prefix: (P,) token ids that all prompts begin with.
        ids: (M, T) token ids of each name and EOT, which also fills up the rows of shorter names.
        eot_positions: (M,) place of EOT in each row.
        lengths: of the M names in tokens, with EOT; numbers, on whatever device the model is built.
        shares: (K, M), how much of each class each name is; None if each class has one name.
    """

    prefix: Tensor
    ids: Tensor
    eot_positions: Tensor
    shares: Tensor | None

    def __init__(
        self, names: Sequence[str | Sequence[str]], template: str, context_length: int, num_context: int = 0
    ) -> None:
        """
        Args:
            names: of each class one or several, no two of which read alike.
            template: text with one ``{}`` that stands for the name.
            context_length: the tokens that the text encoder has positions for (CLIP: 77).
            num_context: learned tokens that a prompt inserts between the prefix and the name.

        Raises:
            ValueError: if there is no name, a name has no token, two names have the same tokens, or one does not fit
                into `context_length`.
        """
        super().__init__()
        self.synonyms = [(name,) if isinstance(name, str) else tuple(name) for name in names]
        self.names = [names[0] for names in self.synonyms]
        self.template, self.context_length, self.num_context = template, context_length, num_context
        before, after = template.split("{}")
        eot = _tokenizer.eot_token_id
        prefix = [_tokenizer.sot_token_id, *_tokenizer.encode(before)]
        all_names = [name for names in self.synonyms for name in names]
        tokens = [[*_tokenizer.encode(name + after), eot] for name in all_names]
        _check(all_names, tokens, context_length - len(prefix) - num_context, context_length)
        self.lengths = [len(row) for row in tokens]
        rows = [torch.tensor(row) for row in tokens]
        # Not persistent: they follow from the names, and a checkpoint must not override those of another vocabulary.
        self.register_buffer("prefix", torch.tensor(prefix), persistent=False)
        self.register_buffer("ids", pad_sequence(rows, batch_first=True, padding_value=eot), persistent=False)
        self.register_buffer("eot_positions", torch.tensor(self.lengths) - 1, persistent=False)

        counts = [len(names) for names in self.synonyms]
        shares = [torch.full((1, count), 1 / count) for count in counts]
        self.register_buffer("shares", torch.block_diag(*shares) if max(counts) > 1 else None, persistent=False)

    def average(self, embeddings: Tensor) -> Tensor:
        """Average the text embeddings of each class's names: (B, M, C) -> (B, K, C).

        The direction is that of CLIP's ensembles: the mean of the normalized embeddings. CLIP normalizes it again; here
        its length is the mean of theirs, since Eq. 4 adds to embeddings that are as long as the encoder makes them.
        """
        if self.shares is None:
            return embeddings
        lengths = embeddings.norm(dim=2, keepdim=True)
        return F.normalize(self.shares @ (embeddings / lengths), dim=2) * (self.shares @ lengths)

    def renamed(self, names: Sequence[str | Sequence[str]]) -> "ClassTokens":
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
                "rename one of them, or leave it out if both are names of one class"
            )
        seen[tuple(ids)] = name
