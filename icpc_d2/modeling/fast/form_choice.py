"""Which form of a lateral convolution over up-sampled score maps takes the least time, by counts of its work.

A form is paid by its multiply-adds, and by the operators that it calls, each of which takes a GPU as long as a billion
of them, so that a training with few classes is faster unfolded. `icpc benchmark folding` times the forms beside this
choice.
"""

from collections.abc import Collection
from typing import NamedTuple

from icpc_d2.modeling.fast.folding import Terms, expand

# What an operator costs in multiply-adds, by the kind of device; others are taken for GPUs. Fitted to the times of all
# forms with 19, 150 and 847 classes, on an H200 and on a core of an AMD EPYC (docs/efficiency.md).
MACS_PER_OPERATOR = {"cuda": 1_000_000_000, "cpu": 3_000_000}
# Of a step, with the addition to what else is up-sampled.
STEP_OPERATORS = 2
# Of a convolution to the lateral's channels whose results are put in their places and added.
PRODUCT_OPERATORS = 6
# Of folding a step into the kernel behind it.
FOLDING_OPERATORS = 12


class FormCost(NamedTuple):
    """The cost of a form."""

    macs: int
    operators: int


def count_forms(
    level: str,
    terms: Terms,
    sources: Collection[str],
    positions: int,
    channels: int,
    out_channels: int,
    composing: bool,
) -> dict[str, FormCost]:
    """Count what leads into a level's lateral convolution.

    Args:
        sources: levels whose maps exist.
        positions: B * h * w of the level.
        channels, out_channels: K, O.
        composing: whether folding itself counts; it does not where kernels are kept.

    Returns:
        Of the map itself, convolved ("plain"), of chains folded from the sources on ("whole"), and of maps at half the
        resolution with the "last" step of each term folded.
    """

    def count_map(name: str, size: int) -> tuple[int, int]:
        """Count the multiply-adds and the steps of a map of `size` positions."""
        macs = steps = 0
        for source, up in terms[name] if name not in sources else ():
            # The steps of an up-sampling give maps of `size` positions, of a quarter of these, and so on.
            before = count_map(source, size // 4 ** len(up))
            macs += sum(size // 4**index for index in range(len(up))) * channels**2 + before[0]
            steps += len(up) + before[1]
        return macs, steps

    chains, num_terms = expand(level, terms, sources), len(terms[level])
    product, composition = positions * channels * out_channels, composing * out_channels * channels**2
    endings = {ending for chain in chains for ending in chain.endings}
    num_kernels = len({chain.source for chain in chains})
    macs, steps = count_map(level, positions)
    folding = composing * FOLDING_OPERATORS
    return {
        "plain": FormCost(macs + product, steps * STEP_OPERATORS + PRODUCT_OPERATORS),
        "whole": FormCost(
            num_kernels * product + composition * sum(4 ** len(ending) for ending in endings),
            num_kernels * PRODUCT_OPERATORS + folding * len(endings),
        ),
        "last": FormCost(
            macs - num_terms * positions * channels**2 + num_terms * (product + 4 * composition),
            (steps - num_terms) * STEP_OPERATORS + num_terms * (PRODUCT_OPERATORS + folding),
        ),
    }


def choose_form(costs: dict[str, FormCost], device: str) -> str:
    """Choose the form of least cost on a kind of device, as "cuda"."""
    weight = MACS_PER_OPERATOR.get("cpu" if device == "meta" else device, MACS_PER_OPERATOR["cuda"])
    # Not by min(), which torch.compile cannot take where sizes vary.
    totals = {form: cost.macs + weight * cost.operators for form, cost in costs.items()}
    cheapest = next(iter(totals))
    for form, total in totals.items():
        if total < totals[cheapest]:
            cheapest = form
    return cheapest
