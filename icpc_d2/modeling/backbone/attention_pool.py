"""CLIP's attention pool, applied to every position instead of the mean alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.clip import merge_heads, resize_grid, split_heads


class AttentionPool(nn.Module):
    """Attention among the mean token and all positions of a feature map.

    open_clip's pool returns the mean token only; the parameters here have its names, so that its weights load.
    """

    def __init__(self, grid_size: int, channels: int, num_heads: int, out_channels: int) -> None:
        """
        Args:
            grid_size: side of the square grid that the position embedding was made for.
            channels: of the feature map; divisible by `num_heads`.
            out_channels: C, width of the joint embedding.
        """
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(grid_size**2 + 1, channels) / channels**0.5)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, out_channels)
        self.num_heads = num_heads
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(projection.weight, std=channels**-0.5)
            nn.init.zeros_(projection.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, channels, h, w) to the global embedding (B, C) and the dense embedding (B, C, h, w)."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + resize_grid(self.positional_embedding, height, width)
        query, key, value = (
            split_heads(projection(tokens), self.num_heads) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        tokens = self.c_proj(merge_heads(F.scaled_dot_product_attention(query, key, value)))
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, (height, width))
