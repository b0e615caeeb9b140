"""The losses of Eq. 9."""

from icpc_d2.modeling.losses.alignment_loss import AlignmentLoss
from icpc_d2.modeling.losses.contrastive import ContrastiveLoss
from icpc_d2.modeling.losses.gathering import Candidates, GatheredContrastiveLoss
from icpc_d2.modeling.losses.pixel import pixel_cross_entropy

__all__ = ["AlignmentLoss", "Candidates", "ContrastiveLoss", "GatheredContrastiveLoss", "pixel_cross_entropy"]
