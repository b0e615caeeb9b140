"""The per-pixel cross-entropy without ever holding K channels at the resolution of the labels.

Shapes: B images, K classes, h x w positions of the logits, H x W pixels of the labels; a strip is r rows of pixels,
interpolated from s rows of logits.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Size of a strip of K channels. It stays in the cache of a CPU, and is large enough to keep a GPU busy.
STRIP_BYTES = 16 * 2**20


@torch.compiler.disable
def strip_pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
    """Compute :func:`icpc_d2.modeling.losses.pixel_cross_entropy` by strips; same arguments and result.

    Memory is that of the logits and of a strip. It can be differentiated once.
    """
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    return _PixelCrossEntropy.apply(logits, labels, ignore_value, with_gradient)


class _PixelCrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the loss: it is as small as the logits, and no strip is needed twice."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_value: int, with_gradient: bool) -> Tensor:
        gradient = torch.zeros_like(logits, dtype=torch.float32) if with_gradient else None
        total = logits.new_zeros((), dtype=torch.float32)
        valid = labels != ignore_value
        labels = labels.where(valid, 0)
        with torch.autocast(logits.device.type, enabled=False):
            for image, source, target, weights in _strips(logits.shape, labels.shape):
                loss, strip_gradient = _strip_loss(
                    logits[image, :, source].float().contiguous(),
                    weights.to(logits.device),
                    labels[image, target],
                    valid[image, target],
                    with_gradient,
                )
                total += loss
                if with_gradient:
                    gradient[image, :, source] += strip_gradient
        count = valid.sum().clamp(min=1)
        ctx.dtype = logits.dtype
        ctx.save_for_backward(gradient, count)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, count = ctx.saved_tensors
        return (gradient * (grad_output / count)).to(ctx.dtype), None, None, None


def _strips(logits: torch.Size, labels: torch.Size) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Yield image, rows of its logits, rows of its labels, and the weights (r, s) from the former to the latter.

    Args:
        logits, labels: shapes (B, K, h, w) and (B, H, W).
    """
    height, width = labels[1:]
    num_rows = max(1, STRIP_BYTES // (4 * logits[1] * width))
    # Interpolating unit vectors gives the weights exactly as PyTorch computes them.
    weights = F.interpolate(torch.eye(logits[2])[None], size=height, mode="linear", align_corners=False)[0].T
    for image in range(labels[0]):
        for top in range(0, height, num_rows):
            target = slice(top, min(top + num_rows, height))
            used = weights[target].any(dim=0).nonzero()
            source = slice(int(used[0]), int(used[-1]) + 1)
            yield image, source, target, weights[target, source]


def _strip_loss(
    source: Tensor, weights: Tensor, labels: Tensor, valid: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Compute the cross-entropy of a strip, summed, and its gradient.

    Args:
        source: (K, s, w), float32.
        weights: (r, s), of the vertical interpolation.
        labels: (r, W), class ids.
        valid: (r, W), whether a pixel counts.

    Returns:
        A scalar and (K, s, w), or None without gradient.
    """
    # Horizontally first, where there are fewer rows.
    wide_size = [source.shape[1], labels.shape[1]]
    wide = F.interpolate(source[None], size=wide_size, mode="bilinear", align_corners=False)[0]
    strip = weights @ wide
    strip -= strip.amax(dim=0)
    target = strip.gather(0, labels[None])[0]
    total = strip.exp_().sum(dim=0)
    loss = (total.log() - target).where(valid, 0).sum()
    if not with_gradient:
        return loss, None
    # Softmax minus one-hot, and back through both interpolations.
    strip *= valid / total
    strip.scatter_add_(0, labels[None], -valid[None].float())
    wide_gradient = (weights.T @ strip)[None]
    shape = [1, *source.shape]
    return loss, torch.ops.aten.upsample_bilinear2d_backward(wide_gradient, wide_size, shape, False, None, None)[0]
