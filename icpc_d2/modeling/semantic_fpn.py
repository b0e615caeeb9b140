"""The baselines without text: Semantic FPN on CLIP's image encoder or on an ImageNet ResNet."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone, SemanticSegmentor
from torch import Tensor, nn

from icpc_d2.modeling.build import build_inference, read_decoder_init
from icpc_d2.modeling.fpn import AnySizeFPN
from icpc_d2.modeling.segmentor import Segmentor


@META_ARCH_REGISTRY.register()
class SemanticFPN(Segmentor, SemanticSegmentor):
    """Detectron2's `SemanticSegmentor`, evaluated as ICPC is: by sliding window, as label maps."""

    @configurable
    def __init__(self, *, backbone: Backbone, sem_seg_head: nn.Module, **inference: Any) -> None:
        """
        Args:
            sem_seg_head: Detectron2's `SemSegFPNHead` or ours.
            inference: of :meth:`icpc_d2.modeling.segmentor.Segmentor.configure_inference`.
        """
        pixels = {name: inference[name] for name in ("pixel_mean", "pixel_std")}
        super().__init__(backbone=backbone, sem_seg_head=sem_seg_head, **pixels)
        self.configure_inference(**inference)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Build backbone and head, and read how to predict."""
        return {**super().from_config(cfg), **build_inference(cfg)}

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Do as `SemanticSegmentor`: the losses in training, else a list of {"sem_seg": (K, height, width)}."""
        return super().forward(batched_inputs) if self.training else self.logits(batched_inputs)

    def predict(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to logits (B, K, H / 4, W / 4), rounded."""
        return self.sem_seg_head.layers(self.backbone(images))


@BACKBONE_REGISTRY.register()
def build_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> AnySizeFPN:
    """Build an FPN on the backbone named by ``MODEL.FPN.BOTTOM_UP``: the CLIP + Semantic FPN baseline of Table 1."""
    return AnySizeFPN(
        bottom_up=BACKBONE_REGISTRY.get(cfg.MODEL.FPN.BOTTOM_UP)(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
        init=read_decoder_init(cfg),
    )
