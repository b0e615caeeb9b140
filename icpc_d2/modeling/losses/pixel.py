"""Per-pixel cross-entropy: L_seg and L_align of Eq. 9."""

from torch import Tensor
from torch.nn import functional as F


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
    """Compute the mean cross-entropy over the labelled pixels, at the resolution of the labels, in float32.

    Args:
        logits: (B, K, h, w), up-sampled bilinearly.
        labels: (B, H, W), class ids or `ignore_value`.

    Returns:
        A scalar; zero if no pixel is labelled.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels, ignore_index=ignore_value, reduction="sum")
    return total / (labels != ignore_value).sum().clamp(min=1)
