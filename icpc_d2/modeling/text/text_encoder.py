"""CLIP's text encoder, frozen, with everything that prompts share computed once.

The encoder is causal, so ``[SOT, V]`` depends on neither image nor class, ``I`` only on the image, and only the class
name and EOT on both. Keys and values of the former are computed once and attended to; that is exact, not approximate.

Shapes: B images (1 if the context holds nothing of an image), K classes in groups of K_g with L_g tokens each,
M = sum of K_g * L_g tokens, n context tokens, D width, h heads, d = D / h, C joint embedding width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling import clip
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import Context

KeysValues = list[tuple[Tensor, Tensor]]  # of each layer: (B, h, n, d) each


class TextEncoder(nn.Module):
    """Class names in the context of a prompt -> text embeddings.

    The parameters are CLIP's, by their names in open_clip; they take no gradient and stay in eval mode, while gradients
    pass through to the context.
    """

    def __init__(self, architecture: str) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`.
        """
        super().__init__()
        model = clip.build_text(architecture)
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.transformer = model.transformer
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.context_length, self.width = self.positional_embedding.shape
        self.channels = self.text_projection.shape[1]
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, tokens: ClassTokens, context: Context) -> Tensor:
        """Embed all classes: (B, K, C), with B = 1 if `context` holds nothing of an image."""
        keys_values, length = self._encode_context(tokens.prefix, context)
        return self._encode_classes(tokens, keys_values, length)

    def _encode_context(self, prefix: Tensor, context: Context) -> tuple[KeysValues, int]:
        """Keys and values of what stands before the class name, and the number n of these tokens."""
        shared = self.token_embedding(prefix)
        if context.shared is not None:
            shared = torch.cat([shared, context.shared.to(shared.dtype)])
        length = len(shared)
        keys_values = self._continue((shared + self.positional_embedding[:length])[None], [])
        if context.per_image is not None:
            end = length + context.per_image.shape[1]
            tokens = context.per_image + self.positional_embedding[length:end]
            keys_values = self._continue(tokens, keys_values)
            length = end
        return keys_values, length

    def _continue(self, x: Tensor, past: KeysValues) -> KeysValues:
        """Run tokens (B, L, D) after those whose keys and values are `past`; return all keys and values."""
        blocks = self.transformer.resblocks
        keys_values = []
        for index, block in enumerate(blocks):
            query, key, value = clip.project_heads(block.attn, block.ln_1(x))
            before = past[index] if past else None
            keys_values.append(_append(before, key, value))
            if index + 1 < len(blocks):
                attended = attend(query[:, :, None], key[:, :, None], value[:, :, None], before)[:, :, 0]
                x = _finish_block(block, x, clip.merge_heads(attended))
        return keys_values

    def _encode_classes(self, tokens: ClassTokens, past: KeysValues, offset: int) -> Tensor:
        """Run the class names and EOT after their context, which ends at position `offset`."""
        blocks = self.transformer.resblocks
        x = self.token_embedding(tokens.ids) + self.positional_embedding[offset + tokens.positions]
        x = x[None]
        for index, block in enumerate(blocks[:-1]):
            query, key, value = clip.project_heads(block.attn, block.ln_1(x))
            x = _finish_block(block, x, _attend_groups(query, key, value, past[index], tokens.shapes))
        # EOT alone is read out, so that the last layer has to answer no other query.
        last = blocks[-1]
        normed = last.ln_1(x)
        (query,) = clip.project_heads(last.attn, normed[:, tokens.ends], slice(0, 1))
        key, value = clip.project_heads(last.attn, normed, slice(1, 3))
        attended = _attend_groups(query, key, value, past[-1], tokens.shapes, queries_per_class=1)
        x = self.ln_final(_finish_block(last, x[:, tokens.ends], attended))
        return (x @ self.text_projection)[:, tokens.order]


def attend(query: Tensor, key: Tensor, value: Tensor, before: tuple[Tensor, Tensor] | None) -> Tensor:
    """Attend causally within a sequence, and to all of a context that stands before many sequences.

    Args:
        query: (B, h, K, Q, d), the last Q of the L tokens of each of K sequences.
        key, value: (B, h, K, L, d).
        before: keys and values (B, h, n, d) of the context, shared by the K sequences; any B may be 1.

    Returns:
        (B, h, K, Q, d)
    """
    scale = query.shape[-1] ** -0.5
    num_queries, length = query.shape[-2], key.shape[-2]
    scores = query @ key.transpose(-2, -1) * scale
    if num_queries > 1:
        future = torch.ones(num_queries, length, dtype=torch.bool, device=query.device).triu(length - num_queries + 1)
        scores = scores.masked_fill(future, float("-inf"))
    if before is None:
        return scores.softmax(-1) @ value
    context_key, context_value = before
    context_scores = query.flatten(2, 3) @ context_key.transpose(-2, -1) * scale
    context_scores = context_scores.unflatten(2, query.shape[2:4])
    scores = scores.expand(context_scores.shape[0], *scores.shape[1:])
    weights = torch.cat([context_scores, scores], dim=-1).softmax(-1)
    context_weights, weights = weights.split([context_key.shape[-2], length], dim=-1)
    attended = (context_weights.flatten(2, 3) @ context_value).unflatten(2, query.shape[2:4])
    return attended + weights @ value


def _attend_groups(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    before: tuple[Tensor, Tensor],
    shapes: list[tuple[int, int]],
    queries_per_class: int | None = None,
) -> Tensor:
    """Run `attend` on each group of (B, h, M, d); return (B, M, D), or (B, K, D) with one query a class."""
    num_keys = [count * length for count, length in shapes]
    num_queries = [count * (queries_per_class or length) for count, length in shapes]
    groups = zip(shapes, query.split(num_queries, 2), key.split(num_keys, 2), value.split(num_keys, 2), strict=True)
    attended = [
        attend(q.unflatten(2, (count, -1)), k.unflatten(2, (count, -1)), v.unflatten(2, (count, -1)), before).flatten(
            2, 3
        )
        for (count, _), q, k, v in groups
    ]
    return clip.merge_heads(torch.cat(attended, dim=2))


def _finish_block(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of a residual block after its attention; x (B or 1, L, D), attended (B, L, D)."""
    x = x + F.linear(attended, block.attn.out_proj.weight, block.attn.out_proj.bias)
    return x + block.mlp(block.ln_2(x))


def _append(before: tuple[Tensor, Tensor] | None, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    if before is None:
        return key, value
    batch = len(key)
    return tuple(
        torch.cat([old.expand(batch, *old.shape[1:]), new], dim=2)
        for old, new in zip(before, (key, value), strict=True)
    )
