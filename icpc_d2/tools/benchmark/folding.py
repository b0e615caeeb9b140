"""Time of each form of the folded laterals, beside the one that is chosen: `icpc benchmark folding`."""

import itertools
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple
from unittest.mock import patch

import torch
from detectron2.layers import Conv2d
from tabulate import tabulate

from icpc_d2.modeling.fast import folded_neck
from icpc_d2.modeling.fast.folded_neck import FoldedLateral, LateralInput
from icpc_d2.modeling.fast.form_choice import FormCost, choose_form
from icpc_d2.modeling.fast.lazy_alignment import LazyMultiScaleAlignment, ScoreMaps

FORMS = ("plain", "whole", "last")
# Level -> stride and channels of an RN50, channels of the FPN.
LEVELS = {"res3": (8, 512), "res2": (4, 256)}
OUT_CHANNELS = 256
CLASSES = (19, 150, 847)
# Images of a batch and whether with gradients.
TASKS = ((4, True), (1, True), (1, False))


class FormTimes(NamedTuple):
    """Milliseconds of each form of a lateral, and which of them is chosen."""

    level: str
    classes: int
    batch: int
    training: bool
    precision: str
    with_res3: bool  # whether the map at stride 8 was there already
    milliseconds: dict[str, float]
    chosen: str

    @property
    def regret(self) -> float:
        """The time of the chosen form over that of the fastest."""
        return self.milliseconds[self.chosen] / min(self.milliseconds.values())


def time_forms(args: Namespace) -> Iterator[FormTimes]:
    """Time all settings at images of `args.size`: on a GPU also in bfloat16; with `args.classes` of these alone."""
    precisions = ("float32", "bfloat16") if args.device == "cuda" else ("float32",)
    classes = (args.classes,) if args.classes else CLASSES
    for count, (batch, training), precision in itertools.product(classes, TASKS, precisions):
        for level, with_res3 in (("res3", False), ("res2", False), ("res2", True)):
            compute = _make_lateral(level, count, batch, training, precision, with_res3, args)
            chosen: list[str] = []

            def remember(costs: dict[str, FormCost], device: str, chosen: list[str] = chosen) -> str:
                chosen.append(choose_form(costs, device))
                return chosen[-1]

            with patch.object(folded_neck, "choose_form", remember):
                compute()
            times = {}
            for form in FORMS:
                with patch.object(folded_neck, "choose_form", lambda *_, form=form: form):
                    times[form] = _time(compute, args)
            yield FormTimes(level, count, batch, training, precision, with_res3, times, chosen[-1])


def _make_lateral(
    level: str, classes: int, batch: int, training: bool, precision: str, with_res3: bool, args: Namespace
) -> Callable[[], None]:
    """Make the lateral of a level over features and cosine maps, with its backward pass if `training`."""
    (stride, channels), device = LEVELS[level], args.device
    alignment = LazyMultiScaleAlignment("res5", 8, classes, "random").to(device)
    terms = alignment(torch.zeros(1, 8, 2, 2, device=device), torch.zeros(1, classes, 8, device=device)).terms
    lateral = FoldedLateral(Conv2d(channels + classes, OUT_CHANNELS, 1), channels).to(device).eval()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    feature = torch.randn(batch, channels, args.size // stride, args.size // stride, device=device, dtype=dtype)
    strides = {"res5": 32, "res4": 16} | ({"res3": 8} if with_res3 else {})
    maps = {
        name: torch.randn(batch, classes, args.size // s, args.size // s, device=device, requires_grad=training)
        for name, s in strides.items()
    }
    inputs = [*maps.values(), *alignment.parameters(), *lateral.parameters()]

    def compute() -> None:
        with (
            torch.set_grad_enabled(training),
            torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            out = lateral(LateralInput(feature, ScoreMaps(maps, terms), level))
        if training:
            torch.autograd.grad(out, inputs, torch.ones_like(out), allow_unused=True)

    return compute


def _time(compute: Callable[[], None], args: Namespace) -> float:
    times = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        compute()
        if args.device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return median(times[1:])


def format_times(rows: list[FormTimes]) -> str:
    """Format the times as a table, and how far the choice is from the fastest form."""
    headers = ["level", "K", "B", "", "precision", "res3", *(f"{form}, ms" for form in FORMS), "chosen", "/ fastest"]
    cells = [
        [
            *(row.level, row.classes, row.batch, "training" if row.training else "inference", row.precision),
            *("there" if row.with_res3 else "", *(row.milliseconds[form] for form in FORMS), row.chosen, row.regret),
        ]
        for row in rows
    ]
    regrets = [row.regret for row in rows]
    table = tabulate(cells, headers, tablefmt="pipe", floatfmt=".2f")
    return f"{table}\n\nthe chosen over the fastest: mean {sum(regrets) / len(regrets):.2f}, worst {max(regrets):.2f}"
