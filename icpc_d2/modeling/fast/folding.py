"""Chains of up-sampling convolutions followed by a 1x1 convolution, folded into one where that is cheaper.

Everything between the cosine maps and the FPN's lateral convolutions is linear (Eq. 8), so that the last steps of a
chain can be multiplied into the lateral weights: the same result, without maps of K channels at high resolution.

Shapes: B images, K classes, O channels of the lateral convolution, k the factor that a kernel up-samples by.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UpStep(NamedTuple):
    """A transposed convolution of kernel and stride 2, K to K channels."""

    conv: nn.ConvTranspose2d
    biased: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Up-sample (B, K, h, w) to (B, K, 2h, 2w)."""
        return F.conv_transpose2d(x, self.conv.weight, self.conv.bias if self.biased else None, stride=2)


UpSteps = tuple[UpStep, ...]
Convs = tuple[nn.ConvTranspose2d, ...]
Terms = Mapping[str, Sequence[tuple[str, Sequence[nn.ConvTranspose2d]]]]


class Chain(NamedTuple):
    """UpSteps to run on the map of a level."""

    source: str
    steps: UpSteps


class Kernel(NamedTuple):
    """A transposed convolution of kernel and stride k, with a bias for each place inside the kernel."""

    weight: Tensor  # (O, K, k, k)
    bias: Tensor  # (O, k, k)

    def add_to(self, out: Tensor, x: Tensor) -> Tensor:
        """Return ``out`` (B, O, h * k, w * k) plus the convolution of (B, K, h, w), as a new tensor.

        As stride equals kernel, it is a matrix product, and an addition that puts each result in its place. With
        channels last, k x k results of a position lie side by side, which is several times faster on a CPU.
        """
        factor = self.weight.shape[-1]
        weight = self.weight.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
        blocks = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, self.bias.flatten())
        blocks = blocks.unflatten(1, (-1, factor, factor)).permute(0, 1, 4, 2, 5, 3)  # (B, O, h, k, w, k)
        total = out.unflatten(3, (-1, factor)).unflatten(2, (-1, factor)) + blocks
        return total.flatten(4, 5).flatten(2, 3)


def fold(weight: Tensor, steps: UpSteps, products: dict[Convs, Tensor] | None = None) -> Kernel:
    """Multiply the steps, the last one first, into a 1x1 convolution `weight` (O, K) that follows them.

    Args:
        products: weights of folded endings, kept here for other chains with the same ending.
    """
    products = {} if products is None else products
    convs = tuple(step.conv for step in steps)
    kernel = products.setdefault((), weight[:, :, None, None])
    bias = weight.new_zeros(weight.shape[0], 1, 1)
    for index in reversed(range(len(steps))):
        # The bias of a step passes through what follows it, and repeats for each of the step's 2 x 2 outputs.
        if steps[index].biased:
            bias = bias + torch.einsum("ocpq,c->opq", kernel, convs[index].bias)
        bias = bias.repeat(1, 2, 2)
        if convs[index:] not in products:
            product = torch.einsum("icuv,ocpq->oiupvq", convs[index].weight, kernel)
            products[convs[index:]] = product.flatten(4, 5).flatten(2, 3)
        kernel = products[convs[index:]]
    return Kernel(kernel, bias)


def count_chain_macs(
    chains: Sequence[Chain],
    splits: Sequence[int],
    positions: dict[str, int],
    channels: int,
    out_channels: int,
    composing: bool,
) -> int:
    """Count the multiply-adds of chains whose first `splits` steps run as they stand while the others are folded.

    Args:
        positions: B * h * w of each source.
        channels: K.
        out_channels: O.
        composing: whether folding itself counts; it does not where kernels are kept.
    """
    applied, folded, products = {}, {}, {}
    for (source, steps), split in zip(chains, splits, strict=True):
        for index in range(split):
            applied[source, steps[: index + 1]] = 4 ** (index + 1) * positions[source] * channels**2
        for count in range(1, len(steps) - split + 1):
            folded[tuple(step.conv for step in steps[-count:])] = 4**count * out_channels * channels**2
        # Chains that are not folded at all are summed before the lateral convolution.
        group = (source, steps[:split]) if split < len(steps) else None
        products[group] = 4 ** len(steps) * positions[source] * channels * out_channels
    return sum(applied.values()) + composing * sum(folded.values()) + sum(products.values())


def choose_splits(
    chains: Sequence[Chain], positions: dict[str, int], channels: int, out_channels: int, composing: bool
) -> tuple[int, ...]:
    """Choose how many steps of each chain run as they stand, so that the fewest multiply-adds are spent."""
    options = itertools.product(*(range(len(chain.steps) + 1) for chain in chains))
    sizes = (positions, channels, out_channels, composing)
    return min(options, key=lambda splits: count_chain_macs(chains, splits, *sizes))


class Plan(NamedTuple):
    """How the score maps reach the lateral convolutions."""

    macs: int
    materialized: tuple[str, ...]  # levels whose map is computed first, and then used as a source
    chains: dict[str, list[Chain]]  # level -> its chains
    splits: dict[str, tuple[int, ...]]  # level -> steps of each chain that run as they stand


def expand(level: str, terms: Terms, sources: Collection[str]) -> list[Chain]:
    """List the chains that lead from `sources` to a level; `terms` says which (level, up-sampling) it is the sum of."""
    if level in sources:
        return [Chain(level, ())]
    return [
        # up(a + b) is up(a) + up(b) but for the bias, which is added once.
        Chain(chain.source, (*chain.steps, *(UpStep(conv, biased=index == 0) for conv in up)))
        for source, up in terms[level]
        for index, chain in enumerate(expand(source, terms, sources))
    ]


def make_plan(
    terms: Terms,
    positions: dict[str, int],
    levels: Sequence[str],
    channels: int,
    out_channels: int,
    composing: bool,
) -> Plan:
    """Find the cheapest way from the maps that are there to the laterals of `levels`, by counted multiply-adds.

    Args:
        terms: of :class:`icpc_d2.modeling.fast.lazy_alignment.ScoreMaps`.
        positions: B * h * w of every level.
        levels: that a lateral convolution wants.
        channels, out_channels, composing: as :func:`count_chain_macs`.
    """
    present = set(positions) - set(terms)
    plans = []
    # A map that others are made from may be worth computing for its own sake.
    inner = [level for level in terms if any(level == source for other in terms.values() for source, _ in other)]
    for count in range(len(inner) + 1):
        for materialized in itertools.combinations(inner, count):
            sources = present | set(materialized)
            chains = {level: expand(level, terms, sources) for level in levels}
            splits = {
                level: choose_splits(chains[level], positions, channels, out_channels, composing) for level in levels
            }
            macs = sum(
                count_chain_macs(chains[level], splits[level], positions, channels, out_channels, composing)
                for level in levels
            )
            for level in materialized:
                own = expand(level, terms, present)
                macs += count_chain_macs(own, [len(chain.steps) for chain in own], positions, channels, 0, composing)
            plans.append(Plan(macs, materialized, chains, splits))
    return min(plans, key=lambda plan: plan.macs)
