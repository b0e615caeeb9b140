"""CLIP's text encoder, one pass for all names that share a prefix.

The encoder is causal: what stands before a class name does not depend on it. So the names of an image stand behind one
another in one sequence, each counting its positions from the end of the prefix, and a mask keeps them apart. That is
exact, not approximate.

Shapes: B images (1 if the context holds nothing of an image), K classes in S sequences of L tokens, n of them the
prefix, and M names, D width, C joint embedding width.
"""

import sys

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from icpc_d2.modeling import clip
from icpc_d2.modeling.compiled_method import CompiledMethod
from icpc_d2.modeling.fast.dependencies import list_tensors
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens, PackedSequences
from icpc_d2.modeling.fast.quick_gelu import replace_quick_gelus
from icpc_d2.modeling.text.prompts import Context
from icpc_d2.modeling.text.text_encoder import TextEncoder


class PackedTextEncoder(CompiledMethod, TextEncoder):
    """A text encoder of packed prompts; without gradients, it keeps what no image changes until a weight does."""

    # Inside of a graph nothing could be kept.
    compiled_method = "_encode"

    def __init__(self, architecture: str, max_activation_mib: int = 0, checkpoint: bool = False) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`.
            max_activation_mib: MiB that the activations of sequences encoded at once may take; more are encoded part by
                part. 0: all at once. While training, all parts stay in memory unless `checkpoint` is set.
            checkpoint: whether to keep no activations for backward, and compute them again.
        """
        super().__init__(architecture)
        replace_quick_gelus(self.transformer)
        self.max_activation_mib = max_activation_mib
        self.checkpoint = checkpoint

    def forward(self, tokens: PackedClassTokens, context: Context) -> Tensor:
        """Embed all classes: (B, K, C), with B = 1 if `context` holds nothing of an image."""
        if context.per_image is not None:
            return self._encode(tokens, context)
        weights = list_tensors(self, tokens, context.shared)
        return tokens.embeddings.get(weights, None, lambda: self._encode(tokens, context))

    def _encode(self, tokens: PackedClassTokens, context: Context) -> Tensor:
        prefix = self.embed_prefix(tokens, context)
        encoded = []
        for sequences in tokens.sequences(self._max_tokens(len(prefix))):
            if self.checkpoint and torch.is_grad_enabled():
                encoded.append(checkpoint(self._encode_sequences, prefix, sequences, use_reentrant=False))
            else:
                encoded.append(self._encode_sequences(prefix, sequences))
        return tokens.average(torch.cat(encoded, dim=1)[:, tokens.packed_order])

    def _max_tokens(self, batch: int) -> int:
        """Return how many tokens of an image are encoded at once."""
        if not self.max_activation_mib:
            return sys.maxsize
        # Values of D kept by a layer for its backward: 2 norms, 3 projections, 3 sums, 3 x 4 in the MLP at most.
        layers = len(self.transformer.resblocks) if torch.is_grad_enabled() else 1
        bytes_per_token = batch * layers * 20 * self.width * self.positional_embedding.element_size()
        return self.max_activation_mib * 2**20 // bytes_per_token

    def _encode_sequences(self, prefix: Tensor, sequences: PackedSequences) -> Tensor:
        """Run names behind their prefix (B, n, D); return their embeddings (B, S * M, C)."""
        (batch, num_prefix), count = prefix.shape[:2], len(sequences.ids)
        positions = self.positional_embedding
        names = self.token_embedding(sequences.ids) + positions[num_prefix + sequences.offsets]
        x = torch.cat([prefix + positions[:num_prefix], names.flatten(0, 1).expand(batch, -1, -1)], dim=1)
        mask, eot_mask = (mask.repeat(batch, 1, 1, 1) for mask in (sequences.mask, sequences.eot_mask))
        device = x.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            # Once, instead of in every layer.
            mask, eot_mask = (mask.to(torch.get_autocast_dtype(device)) for mask in (mask, eot_mask))
        *blocks, last = self.transformer.resblocks
        for block in blocks:
            attended = clip.attend(block, x, mask=mask, arrange=sequences.split)
            x = clip.add_branches(block, x, sequences.join(attended))
        # EOT alone is read out, so that nothing else has to attend in the last layer.
        names = x[:, num_prefix:].unflatten(1, (count, -1))
        eot = names.take_along_dim(sequences.eot_positions[None, ..., None], dim=2)
        attended = clip.attend(last, x, mask=eot_mask, queries=eot.flatten(0, 1), arrange=sequences.split)
        eot = clip.add_branches(last, eot.flatten(1, 2), attended.unflatten(0, (batch, -1)).flatten(1, 2))
        return self.ln_final(eot) @ self.text_projection
