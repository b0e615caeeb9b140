"""Tiny models with random weights, their inputs, and functions that stand in for models."""

from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from icpc_d2 import add_icpc_config
from tests.support.configs import CONFIGS

NAMES = ["sky", "tree", "chest of drawers", "traffic light", "person", "videocassette recorder"]


def make_cfg(config: str = "quickstart/icpc_tiny.yaml", *options: Any) -> CfgNode:
    """A config on the CPU, without a data set or weights: six classes whose names have 1 to 5 tokens."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(str(CONFIGS / config))
    cfg.MODEL.CLASS_NAMES = NAMES
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
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


def predict(images: Tensor) -> Tensor:
    """Stand in for a model: 4 classes, each of whose pixels sees the window's mean."""
    assert images.shape[-1] % 32 == 0 and images.shape[-2] % 32 == 0
    return torch.cat([images + images.mean(dim=(2, 3), keepdim=True), images[:, :1] ** 2], dim=1)


def predict_coarsely(images: Tensor) -> Tensor:
    """30 classes at stride 4."""
    weights = torch.randn(30, 4, 1, 1, generator=torch.Generator().manual_seed(1))
    return nn.functional.conv2d(nn.functional.avg_pool2d(predict(images), 4), weights)


class Given(Backbone):
    """Below FPN: the maps themselves."""

    def __init__(self, shapes: dict[str, ShapeSpec]) -> None:
        super().__init__()
        self.shapes = shapes

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return x

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.shapes


def show_residuals(network: nn.Module) -> None:
    """Change the norms that end a ResNet's branches, whose weights are zero at first, which would hide these."""
    for name, parameter in network.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.uniform_(parameter, 0.5, 1)
