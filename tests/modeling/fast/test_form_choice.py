"""The forms of a lateral convolution: their counted work, and the choice among them on each device."""

import pytest
import torch

from icpc_d2.modeling.fast.folding import Terms
from icpc_d2.modeling.fast.form_choice import FormCost, choose_form, count_forms
from icpc_d2.modeling.fast.lazy_alignment import LazyMultiScaleAlignment


@pytest.fixture(scope="module")
def terms() -> Terms:
    """Of an alignment at four scales (Eq. 8)."""
    with torch.device("meta"):
        alignment = LazyMultiScaleAlignment("res5", 8, 847, "random")
        return alignment(torch.empty(1, 8, 2, 2), torch.empty(1, 847, 8)).terms


def test_counts_are_those_of_the_loops(terms: Terms) -> None:
    """Eq. 8 at stride 4, by hand, with the map at stride 8 there already and without."""
    product = 10 * 7 * 1024
    upsampling = 100 * 4 * ((16 + 64 + 256) + (64 + 256) + 256)
    # 2 operators a step, 6 a product, 12 to fold a step.
    assert count_forms("res2", terms, {"res3", "res4", "res5"}, 1024, 10, 7, composing=True) == {
        "plain": (upsampling + product, 2 * 6 + 6),
        # One kernel of 8 from res5, one of 4 from res4, one of 2 from res3: all at stride 4.
        "whole": (3 * product + 100 * 7 * ((4 + 16 + 64) + (4 + 16) + 4), 3 * 6 + 12 * 6),
        "last": (upsampling - 3 * 100 * 1024 + 3 * product + 3 * 100 * 7 * 4, 2 * 3 + 3 * (6 + 12)),
    }
    res3 = 100 * 4 * ((16 + 64) + 64)
    assert count_forms("res2", terms, {"res4", "res5"}, 1024, 10, 7, composing=False) == {
        "plain": (upsampling + res3 + product, 2 * 9 + 6),
        "whole": (2 * product, 2 * 6),
        "last": (upsampling + res3 - 3 * 100 * 1024 + 3 * product, 2 * 6 + 3 * 6),
    }


@pytest.mark.parametrize(
    ("composing", "batch", "form", "at_least"),
    [(False, 1, "whole", 5.0), (True, 1, "last", 1.9), (True, 4, "whole", 2.2)],
)
def test_847_classes_at_512_cost_a_fraction(
    terms: Terms, composing: bool, batch: int, form: str, at_least: float
) -> None:
    """Up-sampling and lateral of the finest level, in the paper's form against the one of fewest multiply-adds."""
    costs = count_forms("res2", terms, {"res4", "res5"}, batch * 128**2, 847, 256, composing)
    assert min(costs, key=lambda name: costs[name].macs) == form
    assert costs["plain"].macs / costs[form].macs >= at_least


# Timed on an H200 in bfloat16 and TF32 (docs/efficiency.md): the fastest form, or one within a tenth of it.
@pytest.mark.parametrize(
    ("classes", "batch", "training", "form"),
    [
        (19, 4, True, "plain"),
        (150, 4, True, "plain"),
        (847, 1, True, "plain"),
        (847, 4, True, "last"),
        (150, 1, False, "whole"),
        (847, 1, False, "whole"),
    ],
)
def test_the_choice_for_a_gpu_is_the_one_that_was_fastest(
    terms: Terms, classes: int, batch: int, training: bool, form: str
) -> None:
    """The finest level at 512 x 512."""
    costs = count_forms("res2", terms, {"res4", "res5"}, batch * 128**2, classes, 256, composing=training)
    assert choose_form(costs, "cuda") == form


def test_an_unknown_device_is_taken_for_a_gpu_and_meta_for_a_cpu() -> None:
    costs = {"plain": FormCost(10**9, 1), "whole": FormCost(10**6, 100)}
    assert [choose_form(costs, device) for device in ("cuda", "xpu", "cpu", "meta")] == ["plain"] * 2 + ["whole"] * 2
