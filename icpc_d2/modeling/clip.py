"""The only file that knows open_clip's networks: how they are built, and their blocks by parameter name.

Shapes: B images or sequences, L tokens, D width, h heads.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import stochastic_depth

ARCHITECTURES = Path(__file__).parent / "architectures"
# The half of CLIP that is not wanted is built this small and thrown away.
_NO_VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32}
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
# What may differ from one architecture to the next: sizes, and what open_clip's own blocks are given.
_PLAIN_PARTS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
_PLAIN_SIZES = ("image_size", "patch_size", "context_length", "width", "head_width", "heads", "layers", "mlp_ratio")
_PLAIN_SIZES += ("act_kwargs", "norm_kwargs")


def get_architecture(name: str) -> dict[str, Any]:
    """Return an architecture as open_clip describes it (``embed_dim``, ``quick_gelu``, ``vision_cfg``, ``text_cfg``).

    Args:
        name: a file of ``architectures/`` without its ending, or a model name of open_clip.

    Raises:
        ValueError: for a name that neither knows.
    """
    own = ARCHITECTURES / f"{name}.json"
    if own.is_file():
        return json.loads(own.read_text())
    # open_clip would look a name with a schema ("hf-hub:...") up on the network.
    architecture = None if ":" in name else open_clip.get_model_config(name)
    if architecture is None and name.endswith("-quickgelu"):  # not each has a file of its own in each release
        architecture = open_clip.get_model_config(name.removesuffix("-quickgelu"))
        architecture = architecture and {**architecture, "quick_gelu": True}
    if architecture is None:
        known = sorted(path.stem for path in ARCHITECTURES.glob("*.json"))
        raise ValueError(
            f"MODEL.CLIP.ARCH is {name!r}, which is neither one of {known} nor a model of open_clip; "
            "the paper's are 'RN50-quickgelu', 'RN101-quickgelu' and 'ViT-B-16-quickgelu'"
        )
    check_plain(name, architecture)
    return architecture


def check_plain(name: str, architecture: dict[str, Any]) -> None:
    """Raise ValueError for an architecture with a part that the encoders here do not have, such as LayerScale."""
    parts = {
        "": ({key: value for key, value in architecture.items() if key not in _PLAIN_PARTS}, {}),
        "vision_cfg.": (architecture["vision_cfg"], vars(CLIPVisionCfg())),
        "text_cfg.": (architecture["text_cfg"], vars(CLIPTextCfg())),
    }
    unusual = [
        f"{part}{key}"
        for part, (values, usual) in parts.items()
        for key, value in values.items()
        if key not in _PLAIN_SIZES and (value or None) != (usual.get(key) or None)
    ]
    if unusual:
        raise ValueError(
            f"MODEL.CLIP.ARCH {name!r} has {', '.join(unusual[:3])}, which no encoder here has. Wanted is a CLIP "
            "with a ResNet or a plain vision transformer and CLIP's own text encoder, as 'RN50-quickgelu', 'ViT-B-16', "
            "'ViT-L-14' or 'ViT-B-32'"
        )


def build_visual(name: str) -> nn.Module:
    """Build open_clip's image encoder of an architecture, with random weights."""
    return open_clip.model.CLIP(**{**get_architecture(name), "text_cfg": _NO_TEXT}).visual


def build_text_model(name: str) -> nn.Module:
    """Build open_clip's model of an architecture with random weights; only its text encoder is of use."""
    return open_clip.model.CLIP(**{**get_architecture(name), "vision_cfg": _NO_VISION})


def project_heads(
    attn: nn.MultiheadAttention,
    x: Tensor,
    parts: slice = slice(0, 3),
    arrange: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Project tokens (..., L, D) to the queries, keys and values of an attention layer, each (..., h, L, D / h).

    Args:
        parts: which of the three are wanted.
        arrange: lays the projected tokens (..., L, E) out in the sequences that attend; None: as they are.
    """
    width = attn.embed_dim
    rows = slice(parts.start * width, parts.stop * width)
    projected = F.linear(x, attn.in_proj_weight[rows], attn.in_proj_bias[rows])
    if arrange is not None:
        projected = arrange(projected)
    return [split_heads(part, attn.num_heads) for part in projected.split(width, dim=-1)]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split the width among the heads: (..., L, D) -> (..., h, L, D / h)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """Join the heads again: (..., h, L, D / h) -> (..., L, D)."""
    return x.transpose(-3, -2).flatten(-2)


def residual_block(block: nn.Module, x: Tensor, drop_path: float = 0.0, is_causal: bool = False) -> Tensor:
    """Run one of open_clip's residual attention blocks on tokens (B, L, D).

    open_clip's own forward is not called: its token layout changed between releases, and it has no stochastic depth.

    Args:
        drop_path: probability that a sample skips each of the two residual branches while training.
        is_causal: see :func:`attend`.
    """
    return add_branches(block, x, attend(block, x, is_causal), drop_path)


def attend(
    block: nn.Module,
    x: Tensor,
    is_causal: bool = False,
    mask: Tensor | None = None,
    queries: Tensor | None = None,
    arrange: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Run the attention of a residual block on tokens (B, L, D), but for its output projection.

    Args:
        is_causal: whether a token sees those before it alone.
        mask: (B or 1, 1, Q, L), 0 where a query (row) sees a token (column), else minus infinity; None: it sees all.
        queries: (B, Q, D), those of the tokens that attend; None: all.
        arrange: see :func:`project_heads`; B and L are then those of its result.
    """
    normed = block.ln_1(x)
    if queries is None:
        query, key, value = project_heads(block.attn, normed, arrange=arrange)
    else:
        (query,) = project_heads(block.attn, block.ln_1(queries), slice(0, 1))
        key, value = project_heads(block.attn, normed, slice(1, 3), arrange)
    return merge_heads(F.scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal))


def add_branches(block: nn.Module, x: Tensor, attended: Tensor, drop_path: float = 0.0) -> Tensor:
    """Add to tokens (..., D) what a residual block's attention and its MLP make of them."""
    x = x + _drop_path(block.attn.out_proj(attended), drop_path, block.training)
    return x + _drop_path(block.mlp(block.ln_2(x)), drop_path, block.training)


def _drop_path(x: Tensor, probability: float, training: bool) -> Tensor:
    return stochastic_depth(x, probability, "row", training) if probability > 0 else x


def fit_to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Resize images (B, 3, H, W) to the nearest multiples of patches that do not fit into 32 pixels."""
    if 32 % patch_size == 0:
        return images
    size = [max(1, round(side / patch_size)) * patch_size for side in images.shape[-2:]]
    return images if size == list(images.shape[-2:]) else _resize(images, size)


def as_map(tokens: Tensor, size: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Turn tokens (B, h * w, D) of a grid (h, w) into a map (B, D, *wanted), by interpolation where that is another."""
    x = tokens.transpose(1, 2).unflatten(2, tuple(size))
    return x if tuple(size) == tuple(wanted) else _resize(x, wanted)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def resize_grid(embedding: Tensor, height: int, width: int) -> Tensor:
    """Resize a position embedding (1 + n * n, D) to (1 + height * width, D); its first row is not part of the grid."""
    return resample_abs_pos_embed(embedding[None], [height, width], interpolation="bilinear", antialias=False)[0]
