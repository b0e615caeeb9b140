"""CLIP's text encoder with everything that prompts share computed once.

The encoder is causal, so ``[SOT, V]`` depends on neither image nor class, ``I`` only on the image, and only the class
name and EOT on both. Keys and values of the former are computed once and attended to; that is exact, not approximate.

Shapes: B images (1 if the context holds nothing of an image), K classes in groups of K_g with L_g tokens each,
M = sum of K_g * L_g tokens, n context tokens, D width, h heads, d = D / h, C joint embedding width.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from icpc_d2.modeling import clip
from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.token_groups import GroupedClassTokens, TokenBlock
from icpc_d2.modeling.text.prompts import Context
from icpc_d2.modeling.text.text_encoder import TextEncoder

KeysValues = list[tuple[Tensor, Tensor]]  # of each layer: (B, h, n, d) each


class SharedPrefixTextEncoder(TextEncoder):
    """A text encoder that runs nothing twice; without gradients, it keeps what no image changes until a weight does."""

    def __init__(self, architecture: str, max_activation_mib: int = 0, checkpoint: bool = False) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`.
            max_activation_mib: MiB that the activations of a block of classes may take; more classes are encoded block
                by block. 0: all at once. While training, all blocks stay in memory unless `checkpoint` is set.
            checkpoint: whether to keep no activations of the class tokens for backward, and compute them again.
        """
        super().__init__(architecture)
        self.max_activation_mib = max_activation_mib
        self.checkpoint = checkpoint
        self._shared_context: WeightCache[KeysValues] = WeightCache()

    def train(self, mode: bool = True) -> "SharedPrefixTextEncoder":
        """Stay in eval mode, and forget what is kept."""
        if hasattr(self, "_shared_context"):
            self._shared_context.clear()
        return super().train(mode)

    def forward(self, tokens: GroupedClassTokens, context: Context) -> Tensor:
        """Embed all classes: (B, K, C), with B = 1 if `context` holds nothing of an image."""
        if context.per_image is not None:
            return self._encode_classes(tokens, *self._encode_context(tokens, context))
        weights = [*self.parameters(), tokens.flat_ids, *_tensors(tokens.prefix, context.shared)]
        return tokens.embeddings.get(
            weights, None, lambda: self._encode_classes(tokens, *self._encode_context(tokens, context))
        )

    def _encode_context(self, tokens: GroupedClassTokens, context: Context) -> tuple[KeysValues, int]:
        """Return keys and values of what stands before the class name, and the number n of these tokens."""
        weights = [*self.parameters(), *_tensors(tokens.prefix, context.shared)]
        keys_values = self._shared_context.get(
            weights, None, lambda: self._encode_shared(tokens.prefix, context.shared)
        )
        length = len(tokens.prefix) + (0 if context.shared is None else len(context.shared))
        if context.per_image is None:
            return keys_values, length
        end = length + context.per_image.shape[1]
        return self._continue(context.per_image + self.positional_embedding[length:end], keys_values), end

    def _encode_shared(self, prefix: Tensor, shared: Tensor | None) -> KeysValues:
        """Return keys and values of SOT, the template's words and V."""
        x = self.token_embedding(prefix)
        if shared is not None:
            x = torch.cat([x, shared])
        return self._continue((x + self.positional_embedding[: len(x)])[None], [])

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

    def _encode_classes(self, tokens: GroupedClassTokens, past: KeysValues, offset: int) -> Tensor:
        """Run the class names and EOT after their context, which ends at position `offset`."""
        batch = len(past[0][0])
        encoded = []
        for block in tokens.blocks(self._tokens_per_block(batch)):
            if self.checkpoint and torch.is_grad_enabled():
                encoded.append(checkpoint(self._encode_block, block, past, offset, use_reentrant=False))
            else:
                encoded.append(self._encode_block(block, past, offset))
        return torch.cat(encoded, dim=1)[:, tokens.order]

    def _tokens_per_block(self, batch: int) -> int:
        if not self.max_activation_mib:
            return sys.maxsize
        # Values of D kept by a layer for its backward: 2 norms, 3 projections, 3 sums, 3 x 4 in the MLP.
        layers = len(self.transformer.resblocks) if torch.is_grad_enabled() else 1
        bytes_per_token = batch * layers * 20 * self.width * self.positional_embedding.element_size()
        return self.max_activation_mib * 2**20 // bytes_per_token

    def _encode_block(self, tokens: TokenBlock, past: KeysValues, offset: int) -> Tensor:
        """Embed the classes of a block: (B, classes of the block, C)."""
        blocks = self.transformer.resblocks
        x = (self.token_embedding(tokens.ids) + self.positional_embedding[offset + tokens.positions])[None]
        for index, block in enumerate(blocks[:-1]):
            query, key, value = clip.project_heads(block.attn, block.ln_1(x))
            x = _finish_block(block, x, _attend_groups(query, key, value, past[index], tokens.group_sizes))
        # EOT alone is read out, so that the last layer has to answer no other query.
        last = blocks[-1]
        normed = last.ln_1(x)
        (query,) = clip.project_heads(last.attn, normed[:, tokens.eot_indices], slice(0, 1))
        key, value = clip.project_heads(last.attn, normed, slice(1, 3))
        attended = _attend_groups(query, key, value, past[-1], tokens.group_sizes, queries_per_class=1)
        return self.ln_final(_finish_block(last, x[:, tokens.eot_indices], attended)) @ self.text_projection


def _tensors(*values: Tensor | None) -> list[Tensor]:
    return [value for value in values if value is not None]


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
    group_sizes: list[tuple[int, int]],
    queries_per_class: int | None = None,
) -> Tensor:
    """Run `attend` on each group of (B, h, M, d); return (B, M, D), or (B, K, D) with one query a class."""
    num_keys = [count * length for count, length in group_sizes]
    num_queries = [count * (queries_per_class or length) for count, length in group_sizes]
    attended = []
    for (count, _), *group in zip(
        group_sizes, query.split(num_queries, 2), key.split(num_keys, 2), value.split(num_keys, 2), strict=True
    ):
        sequences = (part.unflatten(2, (count, -1)) for part in group)
        attended.append(attend(*sequences, before).flatten(2, 3))
    return clip.merge_heads(torch.cat(attended, dim=2))


def _finish_block(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """Run the rest of a residual block after its attention; x (B or 1, L, D), attended (B, L, D)."""
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
