"""The transformer decoder that lets the text embeddings look at the image (Eq. 4), as in DenseCLIP.

Shapes: B images, K classes, S memory tokens, C joint embedding width, W decoder width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.clip import merge_heads, split_heads


class ContextDecoder(nn.Module):
    """``T + lambda * decoder(T, [global; dense])``."""

    def __init__(
        self, channels: int, width: int, num_heads: int, num_layers: int, dropout: float, initial_lambda: float
    ) -> None:
        """
        Args:
            channels: C.
            width: W, divisible by `num_heads`.
            dropout: probability in [0, 1), after attention and inside the MLPs.
            initial_lambda: start value of all C entries of lambda.
        """
        super().__init__()
        self.text_proj = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.memory_proj = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width), nn.LayerNorm(width))
        self.layers = nn.ModuleList(DecoderLayer(width, num_heads, dropout) for _ in range(num_layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
        self.apply(_init_linear)
        # Named `scale` because `lambda` is a keyword.
        self.scale = nn.Parameter(torch.full((channels,), float(initial_lambda)))

    def forward(self, text: Tensor, global_embed: Tensor, dense_embed: Tensor) -> Tensor:
        """Refine text embeddings.

        Args:
            text: (B, K, C), or (1, K, C) for all images alike.
            global_embed: (B, C).
            dense_embed: (B, C, h, w).

        Returns:
            (B, K, C)
        """
        memory = torch.cat([global_embed[:, None], dense_embed.flatten(2).transpose(1, 2)], dim=1)
        memory = self.memory_proj(memory)
        x = self.text_proj(text).expand(len(memory), -1, -1)
        for layer in self.layers:
            x = layer(x, memory)
        return text + self.scale * self.out_proj(x)


class DecoderLayer(nn.Module):
    """Pre-norm self-attention over the classes, cross-attention to the memory, MLP."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = Attention(width, num_heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = Attention(width, num_heads, dropout)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width * 4), nn.GELU(), nn.Dropout(dropout), nn.Linear(width * 4, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Let x (B, K, W) look at itself and at memory (B, S, W): (B, K, W)."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


class Attention(nn.Module):
    """Multi-head attention whose query, key and value projections have no bias."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Attend from x (B, K, W) to memory (B, S, W): (B, K, W)."""
        query, key, value = (
            split_heads(projection(tokens), self.num_heads)
            for projection, tokens in ((self.q_proj, x), (self.k_proj, memory), (self.v_proj, memory))
        )
        return self.dropout(self.proj(merge_heads(F.scaled_dot_product_attention(query, key, value))))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
