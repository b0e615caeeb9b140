"""Time and peak memory of two ways to compute the same, and how far their results differ."""

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from icpc_d2.analysis.memory import max_rss


class Outcome(NamedTuple):
    """The outputs of a computation, and the gradients where it made some."""

    outputs: Sequence[Tensor]
    gradients: Sequence[Tensor] = ()


Computation = Callable[[], Outcome]

# Gradients this much smaller than the largest are zeros but for rounding, such as that of a bias before a softmax.
NEGLIGIBLE = 1e-6


def alternate(naive: Computation, ours: Computation, repeats: int) -> tuple[float, float]:
    """Return the median seconds of each, run in turns after one run of each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for compute, seconds in zip((naive, ours), times, strict=True):
            _synchronize()
            start = time.perf_counter()
            compute()
            _synchronize()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return median(times[0]), median(times[1])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def max_abs_diff(ours: Sequence[Tensor], naive: Sequence[Tensor]) -> float:
    """Return the largest difference of any two numbers."""
    return max(float((a.double() - b.double()).abs().max()) for a, b in zip(ours, naive, strict=True))


def max_rel_diff(ours: Sequence[Tensor], naive: Sequence[Tensor]) -> float | None:
    """Return the largest difference in a tensor, divided by its largest number, of the tensor where that is worst.

    Tensors that are zero but for rounding are left out. None if there is no tensor.
    """
    scales = [float(tensor.abs().max()) for tensor in naive]
    floor = NEGLIGIBLE * max(scales, default=0.0)
    relative = [
        max_abs_diff([a], [b]) / scale for a, b, scale in zip(ours, naive, scales, strict=True) if scale > floor
    ]
    return max(relative, default=None)


def peak_growth(compute: Computation, device: str) -> float:
    """Run `compute` and return how far memory rises above what is in use before, in MiB; for a process of its own.

    On the GPU that is PyTorch's allocated memory; on the CPU the resident memory of the process.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        compute()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if sys.platform != "linux":
        before = max_rss()
        compute()
        return max_rss() - before
    # What building the model left behind goes back to the system first, and the kernel forgets the peak so far.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    compute()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    """Read a field of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 2**10
