import sys

import pytest
import torch

from icpc_d2.analysis.timing import Outcome, alternate, max_abs_diff, max_rel_diff, peak_growth


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what is freed before the work still counts")
def test_peak_growth_is_what_the_work_needs() -> None:
    torch.ones(100 << 18)  # 100 MiB that are freed again
    # Some pages of what was freed may be in use again.
    assert 62 <= peak_growth(lambda: Outcome([torch.ones(64 << 18).sum()]), "cpu") < 80


def test_runs_alternate_after_a_warm_up() -> None:
    calls = []

    def compute(name: str) -> Outcome:
        calls.append(name)
        return Outcome([])

    alternate(lambda: compute("naive"), lambda: compute("ours"), repeats=2)
    assert calls == ["naive", "ours"] * 3


def test_differences_are_found_wherever_they_are() -> None:
    zero, noise = torch.zeros(3), torch.full((3,), 1e-9)
    big = torch.tensor([100.0, 1.0])
    assert max_abs_diff([zero, big], [zero, big + 0.5]) == 0.5
    assert max_rel_diff([big + 1, noise], [big, zero]) == pytest.approx(0.01)
    assert max_rel_diff([], []) is None
