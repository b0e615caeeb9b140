"""Up-sampling convolutions followed by a 1x1 convolution, folded into one.

Everything between the cosine maps and the FPN's lateral convolutions is linear (Eq. 8), so that the up-sampling can be
multiplied into the lateral weights: the same result, without maps of K channels at high resolution.

Shapes: B images, K classes, O channels of the lateral convolution, k the factor that a kernel up-samples by.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.resizing import may_differ, resize_to

# The (level, up-sampling) pairs whose sum the map of a level is.
Terms = Mapping[str, Sequence[tuple[str, Sequence[nn.ConvTranspose2d]]]]


class UpStep(NamedTuple):
    """A transposed convolution of kernel and stride 2, K to K channels."""

    conv: nn.ConvTranspose2d
    biased: bool = True


class Chain(NamedTuple):
    """Steps that lead from the map of a level to a finer one."""

    source: str
    steps: tuple[UpStep, ...]

    @property
    def endings(self) -> list[tuple[nn.ConvTranspose2d, ...]]:
        """The convolutions of the last step, of the last two, and so on."""
        convs = tuple(step.conv for step in self.steps)
        return [convs[index:] for index in reversed(range(len(convs)))]


class Kernel(NamedTuple):
    """A transposed convolution of kernel and stride k, with a bias for each place inside the kernel."""

    weight: Tensor  # (O * k * k, K), of the matrix product that it is
    bias: Tensor  # (O * k * k,)
    factor: int  # k

    def add_to(self, out: Tensor, x: Tensor) -> Tensor:
        """Return ``out`` (B, O, H, W) plus the convolution of (B, K, h, w), as a new tensor.

        As stride equals kernel, it is a matrix product, and an addition that puts each result in its place. The k x k
        results of a position lie side by side, which is several times faster on a CPU than apart. Results of another
        size than H x W are interpolated to it, which is linear too.
        """
        (batch, _, height, width), k = x.shape, self.factor
        product = multiply if x.is_cuda else convolve
        blocks = product(x, self.weight, self.bias).reshape(batch, height, width, -1, k, k)
        blocks = blocks.permute(0, 3, 1, 4, 2, 5)  # (B, O, h, k, w, k)
        if may_differ((height * k, width * k), out.shape[2:]):
            return out + resize_to(blocks.flatten(4, 5).flatten(2, 3), out.shape[2:])
        return (out.view(blocks.shape) + blocks).reshape(out.shape)


def multiply(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply (B, K, h, w) by (P, K) to (B * h * w, P): on a GPU one kernel, as a single image need not be copied."""
    return F.linear(x.flatten(2).mT.flatten(0, 1), weight, bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same as (B, h, w, P): on a CPU a convolution with channels last takes up to a fifth less time."""
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), weight[..., None, None], bias).permute(0, 2, 3, 1)


def expand(level: str, terms: Terms, sources: Collection[str]) -> list[Chain]:
    """List the chains that lead from `sources` to a level."""
    if level in sources:
        return [Chain(level, ())]
    return [
        # up(a + b) is up(a) + up(b) but for the bias, which is added once.
        Chain(chain.source, (*chain.steps, *(UpStep(conv, biased=index == 0) for conv in up)))
        for source, up in terms[level]
        for index, chain in enumerate(expand(source, terms, sources))
    ]


def fold(weight: Tensor, chains: Sequence[Chain]) -> dict[str, Kernel]:
    """Multiply chains, the last step first, into a 1x1 convolution `weight` (O, K) that follows them.

    Returns:
        The kernel to apply to the map of each source; those of chains from the same source are summed.
    """
    kernels: dict[str, tuple[Tensor, Tensor]] = {}  # (O, K, k, k) and (O, k, k)
    # The weights of folded endings, which several chains may share.
    products = {(): weight[:, :, None, None]}
    for chain in chains:
        kernel, bias = products[()], weight.new_zeros(weight.shape[0], 1, 1)
        for step, ending in zip(reversed(chain.steps), chain.endings, strict=True):
            # The bias of a step passes through what follows it, and repeats for each of the step's 2 x 2 outputs.
            if step.biased:
                bias = bias + torch.einsum("ocpq,c->opq", kernel, step.conv.bias)
            bias = bias.repeat(1, 2, 2)
            if ending not in products:
                product = torch.einsum("icuv,ocpq->oiupvq", step.conv.weight, kernel)
                products[ending] = product.flatten(4, 5).flatten(2, 3)
            kernel = products[ending]
        before = kernels.get(chain.source)
        kernels[chain.source] = (kernel, bias) if before is None else (before[0] + kernel, before[1] + bias)
    return {
        source: Kernel(kernel.permute(0, 2, 3, 1).flatten(0, 2), bias.flatten(), kernel.shape[-1])
        for source, (kernel, bias) in kernels.items()
    }
