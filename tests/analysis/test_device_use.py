"""Time, kernels and busy share of computations whose operators are known."""

import time

import pytest
import torch

from icpc_d2.analysis import device_use
from icpc_d2.analysis.device_use import covered, kernel_intervals, measure_use

CPU = torch.device("cpu")


def test_innermost_operators_are_counted_on_a_cpu() -> None:
    x = torch.randn(64, 64)
    once, thrice = (len(kernel_intervals(lambda n=n: [torch.mm(x, x) for _ in range(n)], CPU)) for n in (1, 3))
    assert once >= 1
    assert thrice == 3 * once


def test_time_and_busy_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_use, "SECONDS", 0.0)
    x, calls = torch.randn(256, 256), []

    def compute() -> None:
        calls.append(torch.mm(x, x))
        time.sleep(0.05)

    use = measure_use(compute, CPU)
    assert len(calls) == 2 + 3 + 1, "warm-up, timed, profiled"
    assert 0.05 <= use.seconds < 1
    assert 0 < use.busy < 0.9, "nothing runs while it sleeps"
    assert use.peak_mib is None


def test_what_overlaps_counts_once() -> None:
    assert covered([(5, 6), (0, 2), (1, 3), (1.5, 1.6)]) == 4
    assert covered([]) == 0
