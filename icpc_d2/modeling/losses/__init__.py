"""The losses of Eq. 9."""

from icpc_d2.modeling.losses.alignment_loss import AlignmentLoss
from icpc_d2.modeling.losses.contrastive import ContrastiveLoss, info_nce
from icpc_d2.modeling.losses.gathering import Candidates, GatheredContrastiveLoss
from icpc_d2.modeling.losses.pixel import pixel_cross_entropy
from icpc_d2.modeling.losses.sampling import sample_points

__all__ = [
    "AlignmentLoss",
    "Candidates",
    "ContrastiveLoss",
    "GatheredContrastiveLoss",
    "info_nce",
    "pixel_cross_entropy",
    "sample_points",
]
