"""The per-pixel cross-entropy without ever holding K channels at the resolution of the labels.

Shapes: B images, K classes, h x w positions of the logits, H x W pixels of the labels; a strip is r rows of pixels of
all images, interpolated from s rows of logits.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from icpc_d2.modeling.losses.pixel import mean_divisor

# Size of a strip of K channels: on a CPU it stays in the cache, elsewhere a few kernels should do the work.
STRIP_BYTES = {"cpu": 16 * 2**20, "cuda": 256 * 2**20}


@torch.compiler.disable
def strip_pixel_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_value: int, class_weights: Tensor | None = None
) -> Tensor:
    """Compute :func:`icpc_d2.modeling.losses.pixel_cross_entropy` by strips; same arguments and result.

    Memory is that of the logits and of a strip. It can be differentiated once.
    """
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    return _PixelCrossEntropy.apply(logits, labels, ignore_value, class_weights, with_gradient)


class _PixelCrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the loss: it is as small as the logits, and no strip is needed twice."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        ignore_value: int,
        class_weights: Tensor | None,
        with_gradient: bool,
    ) -> Tensor:
        gradient = torch.zeros_like(logits, dtype=torch.float32) if with_gradient else None
        total = logits.new_zeros((), dtype=torch.float32)
        valid = labels != ignore_value
        labels = labels.where(valid, 0)
        row_bytes = 4 * logits[:, :, 0, 0].numel() * labels.shape[2]
        num_rows = max(1, STRIP_BYTES.get(logits.device.type, STRIP_BYTES["cuda"]) // row_bytes)
        with torch.autocast(logits.device.type, enabled=False):
            for source, target, weights in _strips(logits.shape[2], labels.shape[1], num_rows, logits.device):
                total += _strip_loss(
                    logits[:, :, source].float().contiguous(),
                    weights,
                    labels[:, None, target],
                    valid[:, None, target],
                    class_weights,
                    gradient[:, :, source] if with_gradient else None,
                )
        divisor = mean_divisor(labels, valid, class_weights)
        ctx.dtype = logits.dtype
        ctx.save_for_backward(gradient, divisor)
        return total / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradient, divisor = ctx.saved_tensors
        return (gradient * (grad_output / divisor)).to(ctx.dtype), None, None, None, None


@lru_cache(maxsize=64)
def _strips(
    source_rows: int, target_rows: int, num_rows: int, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """Cut the labels' rows into strips: rows of the logits, of the labels, and weights (r, s); once for a shape."""
    # Interpolating unit vectors gives the weights exactly as PyTorch computes them.
    unit = torch.eye(source_rows, device="cpu")[None]
    weights = F.interpolate(unit, size=target_rows, mode="linear", align_corners=False)[0].T
    strips = []
    for top in range(0, target_rows, num_rows):
        target = slice(top, min(top + num_rows, target_rows))
        used = weights[target].any(dim=0).nonzero()
        source = slice(int(used[0]), int(used[-1]) + 1)
        strips.append((source, target, weights[target, source].to(device)))
    return strips


def _strip_loss(
    source: Tensor,
    weights: Tensor,
    labels: Tensor,
    valid: Tensor,
    class_weights: Tensor | None,
    gradient: Tensor | None,
) -> Tensor:
    """Compute the cross-entropy of a strip, summed over its pixels, and add its gradient by `source` to `gradient`.

    Args:
        source: (B, K, s, w), float32.
        weights: (r, s), of the vertical interpolation.
        labels: (B, 1, r, W), class ids.
        valid: (B, 1, r, W), whether a pixel counts.
        class_weights: (K,), how much it does; None: 1.
        gradient: (B, K, s, w); None: not wanted.
    """
    # Horizontally first, where there are fewer rows.
    wide_size = [source.shape[2], labels.shape[3]]
    strip = weights @ F.interpolate(source, size=wide_size, mode="bilinear", align_corners=False)
    strip -= strip.amax(dim=1, keepdim=True)
    target = strip.gather(1, labels)
    total = strip.exp_().sum(dim=1, keepdim=True)
    pixel_weights = valid if class_weights is None else class_weights[labels] * valid
    loss = (total.log() - target).where(valid, 0)
    loss = loss.sum() if class_weights is None else (loss * pixel_weights).sum()
    if gradient is not None:
        # Softmax minus one-hot, and back through both interpolations.
        strip *= pixel_weights / total
        strip.scatter_add_(1, labels, -pixel_weights.float())
        wide_gradient, shape = weights.T @ strip, list(source.shape)
        gradient += torch.ops.aten.upsample_bilinear2d_backward(wide_gradient, wide_size, shape, False, None, None)
    return loss
