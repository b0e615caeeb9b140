"""Tiny models with random weights, and the naive text encoder that ours is compared with."""

from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from torch import Tensor, nn

from icpc_d2 import add_icpc_config
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import Context
from tests.support.configs import CONFIGS

NAMES = ["sky", "tree", "chest of drawers", "traffic light", "person", "videocassette recorder"]


def make_cfg(config: str = "quickstart/icpc_tiny.yaml", *options: Any) -> CfgNode:
    """A config on the CPU, without a data set: six classes whose names have 1 to 5 tokens."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(str(CONFIGS / config))
    cfg.MODEL.CLASS_NAMES = NAMES
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SEM_SEG_HEAD.NORM = "BN"
    cfg.MODEL.CLIP.VIT_NORM = "BN"
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.ALIGNMENT.LOSS_SCALES = []
    cfg.merge_from_list(list(options))
    return cfg


TINY_VIT = (
    "MODEL.BACKBONE.NAME",
    "build_clip_vit_backbone",
    "MODEL.CLIP.ARCH",
    "tiny-ViT",
    "MODEL.CLIP.VIT_BLOCKS",
    [0, 1, 2, 3],
)


# No BatchNorm, and nothing random inside of the model: only the losses look at more than one image.
SEPARATE = [
    *TINY_VIT,
    *("MODEL.CLIP.VIT_NORM", "GN", "MODEL.SEM_SEG_HEAD.NORM", "GN"),
    *("MODEL.CLIP.VIT_DROP_PATH", 0.0, "MODEL.SEM_SEG_HEAD.DROPOUT", 0.0, "MODEL.CONTEXT_DECODER.DROPOUT", 0.0),
    *("MODEL.CONTRASTIVE.GATHER", True),
]


def make_batch(*sizes: tuple[int, int], num_classes: int = len(NAMES)) -> list[dict[str, Tensor]]:
    """Random images and labels in blocks, so that each class has points at every stride."""
    batch = []
    for height, width in sizes:
        blocks = torch.randint(num_classes, (1, 1, -(-height // 32), -(-width // 32))).float()
        labels = nn.functional.interpolate(blocks, scale_factor=32)[0, 0, :height, :width].long()
        batch.append({"image": torch.randint(256, (3, height, width), dtype=torch.uint8), "sem_seg": labels})
    return batch


def naive_text(encoder: nn.Module, names: list[str], context: Context, prefix: list[int] | None = None) -> Tensor:
    """Each class of each image as a whole sequence through the encoder, one at a time, with a causal mask.

    Returns (B, K, C). Written with torch's own MultiheadAttention on the encoder's parameters.
    """
    batch = 1 if context.per_image is None else len(context.per_image)
    return torch.stack([torch.stack([_encode_one(encoder, name, context, b) for name in names]) for b in range(batch)])


def _encode_one(encoder: nn.Module, name: str, context: Context, image: int) -> Tensor:
    tokens = ClassTokens([name], "{}", encoder.context_length)
    parts = [encoder.token_embedding(tokens.prefix)]
    if context.shared is not None:
        parts.append(context.shared)
    if context.per_image is not None:
        parts.append(context.per_image[image])
    parts.append(encoder.token_embedding(tokens.ids))
    x = torch.cat(parts)
    x = (x + encoder.positional_embedding[: len(x)])[:, None]
    mask = torch.full((len(x), len(x)), float("-inf")).triu(1)
    for block in encoder.transformer.resblocks:
        normed = block.ln_1(x)
        attn = block.attn
        attended, _ = nn.functional.multi_head_attention_forward(
            normed,
            normed,
            normed,
            attn.embed_dim,
            attn.num_heads,
            attn.in_proj_weight,
            attn.in_proj_bias,
            None,
            None,
            False,
            0.0,
            attn.out_proj.weight,
            attn.out_proj.bias,
            attn_mask=mask,
        )
        x = x + attended
        x = x + block.mlp(block.ln_2(x))
    return encoder.ln_final(x[-1, 0]) @ encoder.text_projection
