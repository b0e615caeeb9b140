"""Per-pixel cross-entropy: L_seg and L_align of Eq. 9."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pixel_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_value: int, class_weights: Tensor | None = None
) -> Tensor:
    """Compute the mean cross-entropy over the labelled pixels, at the resolution of the labels, in float32.

    Args:
        logits: (B, K, h, w), up-sampled bilinearly.
        labels: (B, H, W), class ids or `ignore_value`.
        class_weights: (K,), 0 or more, how much a pixel of each class counts in the mean, as torch's; None: all alike.

    Returns:
        A scalar; zero if no pixel is labelled.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels, class_weights, ignore_index=ignore_value, reduction="sum")
    return total / mean_divisor(labels, labels != ignore_value, class_weights)


def mean_divisor(labels: Tensor, is_labelled: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return what a sum over labelled pixels is divided by for its mean: their number or weight; 1 if that is 0.

    Args:
        labels: of any shape, class ids where `is_labelled`, a bool of the same shape.
        class_weights: see :func:`pixel_cross_entropy`.
    """
    if class_weights is None:
        return is_labelled.sum().clamp(min=1)
    weight = class_weights[labels.where(is_labelled, 0)].where(is_labelled, 0).sum()
    return weight.where(weight > 0, 1)


class WeightedPixelLoss(nn.Module):
    """A pixel loss with class weights, which move to the model's device with it and are not in its checkpoints."""

    class_weights: Tensor

    def __init__(self, pixel_loss: Callable[..., Tensor], class_weights: Sequence[float]) -> None:
        """
        Args:
            pixel_loss: :func:`pixel_cross_entropy` or an equal.
            class_weights: of the K classes.
        """
        super().__init__()
        self.pixel_loss = pixel_loss
        weights = torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
        """Compute the loss of logits (B, K, h, w) and labels (B, H, W)."""
        return self.pixel_loss(logits, labels, ignore_value, self.class_weights)
