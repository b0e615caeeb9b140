"""Detectron2's ImageNet ResNets with an attention pool trained from scratch (the paper's Table 10)."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.projects.deeplab import build_resnet_deeplab_backbone
from torch import Tensor

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone.attention_pool import AttentionPool
from icpc_d2.modeling.backbone.freezing import check_freeze_at
from icpc_d2.modeling.backbone.image_encoder import LEVELS, ImageEncoder

_HEAD_CHANNELS = 64  # of CLIP's attention pools


class PooledResNet(ImageEncoder):
    """A backbone with res2..res5 and an attention pool on top, as CLIP's ResNets have it."""

    def __init__(self, bottom_up: Backbone, embed_channels: int, grid_size: int, out_features: list[str]) -> None:
        """
        Args:
            bottom_up: gives res2..res5 at strides 4, 8, 16, 32.
            embed_channels: C, width of the joint embedding.
            grid_size: side of the pool's position embedding; 7 in CLIP's ResNets.
            out_features: any of res2..res5, ``global_embed``, ``dense_embed`` (stride 32).
        """
        super().__init__()
        self.bottom_up = bottom_up
        channels = [bottom_up.output_shape()[level].channels for level in LEVELS]
        self.attnpool = AttentionPool(grid_size, channels[-1], channels[-1] // _HEAD_CHANNELS, embed_channels)
        self.choose_outputs(out_features, channels, embed_channels, embed_stride=32)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalized images (B, 3, H, W) -> the outputs by name, as `ClipResNet`, but for sizes that are rounded up."""
        outputs = self.bottom_up(images)
        outputs["global_embed"], outputs["dense_embed"] = self.attnpool(outputs["res5"])
        return {name: outputs[name] for name in self._shapes}


@BACKBONE_REGISTRY.register()
def build_pooled_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> PooledResNet:
    """Build Detectron2's ResNet `cfg.MODEL.RESNETS` with an attention pool to the width of `cfg.MODEL.CLIP.ARCH`.

    ``MODEL.RESNETS.STEM_TYPE: "deeplab"`` gives ResNet-V1c, the paper's baseline, whose stem is three 3x3 convolutions.
    """
    check_freeze_at(cfg.MODEL.BACKBONE.FREEZE_AT)  # Detectron2's builder, which reads it, takes any number
    architecture = clip.get_architecture(cfg.MODEL.CLIP.ARCH)
    image_size = cfg.MODEL.CLIP.IMAGE_SIZE or architecture["vision_cfg"]["image_size"]
    bottom_up = build_resnet_deeplab_backbone(cfg, input_shape)
    return PooledResNet(bottom_up, architecture["embed_dim"], image_size // 32, cfg.MODEL.CLIP.OUT_FEATURES)
