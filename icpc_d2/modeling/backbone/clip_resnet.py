"""CLIP's ResNets (RN50, RN101 and a tiny one) as a Detectron2 backbone."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone.attention_pool import AttentionPool
from icpc_d2.modeling.backbone.freezing import freeze_stages
from icpc_d2.modeling.backbone.image_encoder import LEVELS, ImageEncoder, wants_embeddings

NORMS = ("BN", "SyncBN", "naiveSyncBN")
STAGES = (("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


class ClipResNet(ImageEncoder):
    """open_clip's ModifiedResNet with all four stages, the global and the dense embedding as outputs."""

    def __init__(
        self, architecture: str, out_features: list[str], image_size: int = 0, norm: str = "BN", freeze_at: int = 0
    ) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`; its image encoder must be a ResNet.
            out_features: any of res2..res5 (strides 4, 8, 16, 32), ``global_embed``, ``dense_embed`` (stride 32).
            image_size: side of the square image, in pixels, that the pool's position embedding is stored for;
                0: the architecture's.
            norm: "BN", or "SyncBN" or "naiveSyncBN", which take their statistics over all processes.
            freeze_at: stages that do not train, see :func:`icpc_d2.modeling.backbone.freezing.freeze_stages`.

        Raises:
            ValueError: if the architecture's image encoder is a vision transformer, or for an unknown output, norm or
                number of stages.
        """
        super().__init__()
        config = clip.get_architecture(architecture)
        vision = config["vision_cfg"]
        if not isinstance(vision["layers"], (list, tuple)):
            raise ValueError(
                f"MODEL.CLIP.ARCH {architecture!r} is a vision transformer, but MODEL.BACKBONE.NAME asks for a CLIP "
                "ResNet; use 'build_clip_vit_backbone', or a ResNet such as 'RN50-quickgelu'"
            )
        if norm not in NORMS:
            raise ValueError(f"MODEL.CLIP.RESNET_NORM is {norm!r}; CLIP's weights fit {' and '.join(NORMS[:2])} alone")
        self.visual = clip.build_visual(architecture)
        if norm != "BN":
            replace_norms(self.visual, norm)
        freeze_stages(self.visual, STAGES, freeze_at)
        channels = [vision["width"] * 4 * 2**i for i in range(4)]
        heads = self.visual.attnpool.num_heads
        self.visual.attnpool = None
        if wants_embeddings(out_features):
            grid_size = (image_size or vision["image_size"]) // 32
            self.visual.attnpool = AttentionPool(grid_size, channels[-1], heads, config["embed_dim"])
        self.choose_outputs(out_features, channels, config["embed_dim"], embed_stride=32)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalized images (B, 3, H, W), of 32 pixels a side or more -> the outputs by name.

        ``res2``..``res5`` are (B, channels, H / stride, W / stride), ``global_embed`` (B, C),
        ``dense_embed`` (B, C, H / 32, W / 32), all rounded.
        """
        outputs = {}
        x = self.visual.stem(images)
        for index, name in enumerate(LEVELS, start=1):
            outputs[name] = x = self.visual.get_submodule(f"layer{index}")(x)
        if self.visual.attnpool is not None:
            outputs["global_embed"], outputs["dense_embed"] = self.visual.attnpool(x)
        return {name: outputs[name] for name in self._shapes}


def replace_norms(module: nn.Module, norm: str) -> None:
    """Put another kind of BatchNorm, with the same parameters, in the place of each in `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            replacement = get_norm(norm, child.num_features)
            replacement.load_state_dict(child.state_dict())
            setattr(module, name, replacement)
        else:
            replace_norms(child, norm)


@BACKBONE_REGISTRY.register()
def build_clip_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ClipResNet:
    """Build CLIP's ResNet `cfg.MODEL.CLIP.ARCH`."""
    keys = cfg.MODEL.CLIP
    freeze_at = cfg.MODEL.BACKBONE.FREEZE_AT
    return ClipResNet(keys.ARCH, keys.OUT_FEATURES, keys.IMAGE_SIZE, keys.RESNET_NORM, freeze_at)
