"""Image encoders, registered in Detectron2's ``BACKBONE_REGISTRY``."""

from icpc_d2.modeling.backbone.clip_resnet import ClipResNet
from icpc_d2.modeling.backbone.clip_vit import ClipViT
from icpc_d2.modeling.backbone.pooled_resnet import PooledResNet

__all__ = ["ClipResNet", "ClipViT", "PooledResNet"]
