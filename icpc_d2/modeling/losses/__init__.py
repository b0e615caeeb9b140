"""The losses of Eq. 9."""

from icpc_d2.modeling.losses.alignment_loss import AlignmentLoss
from icpc_d2.modeling.losses.contrastive import ContrastiveLoss
from icpc_d2.modeling.losses.gathering import Candidates, GatheredContrastiveLoss
from icpc_d2.modeling.losses.pixel import WeightedPixelLoss, pixel_cross_entropy

__all__ = [
    "AlignmentLoss",
    "Candidates",
    "ContrastiveLoss",
    "GatheredContrastiveLoss",
    "WeightedPixelLoss",
    "pixel_cross_entropy",
]
