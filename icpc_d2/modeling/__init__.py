"""The model. Importing this package registers the backbones, the head and the meta-architecture in Detectron2."""

from icpc_d2.modeling.backbone import ClipResNet, ClipViT, PooledResNet
from icpc_d2.modeling.contrastive_clip import ContrastiveCLIP
from icpc_d2.modeling.meta_arch import ICPC
from icpc_d2.modeling.semantic_fpn import SemanticFPN, build_fpn_backbone
from icpc_d2.modeling.semantic_fpn_head import SemanticFPNHead

__all__ = [
    "ICPC",
    "ClipResNet",
    "ClipViT",
    "ContrastiveCLIP",
    "PooledResNet",
    "SemanticFPN",
    "SemanticFPNHead",
    "build_fpn_backbone",
]
