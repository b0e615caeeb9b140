"""How a computation uses its device: time, kernels, the share of the time that it is busy, memory."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# Seconds that are spent on timing one computation, and the fewest and the most calls in them.
SECONDS = 3.0
FEWEST, MOST = 3, 20
# Calls before, in which kernels are chosen and memory is reserved.
WARM_UP = 2


@dataclass(frozen=True)
class DeviceUse:
    """Time, kernels and memory of a call of a computation that is warm."""

    seconds: float  # median, from the call until the device has finished
    kernels: int | None  # on a GPU; on a CPU operators that call no other one. None: the profiler saw nothing
    busy: float | None  # share of `seconds` in which one of them runs, at most 1
    peak_mib: float | None  # of PyTorch's allocated memory on the GPU, with the model; None on a CPU


def measure_use(compute: Callable[[], Any], device: torch.device) -> DeviceUse:
    """Run `compute` some times and measure; the last run is profiled, and counts for nothing else."""
    for _ in range(WARM_UP):
        compute()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    times: list[float] = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < SECONDS):
        start = time.perf_counter()
        compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    seconds = median(times)
    intervals = kernel_intervals(compute, device)
    if not intervals:
        return DeviceUse(seconds, None, None, peak)
    return DeviceUse(seconds, len(intervals), min(1.0, covered(intervals) / seconds), peak)


def kernel_intervals(compute: Callable[[], Any], device: torch.device) -> list[tuple[float, float]]:
    """Profile one call: start and end, in seconds, of each kernel on a GPU, or of each innermost operator on a CPU."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        compute()
        if on_gpu:
            torch.cuda.synchronize(device)
    events = profiler.events()
    if on_gpu:
        # The GPU's time line also shows copies, and ranges that the CPU's has by the same name.
        ranges = {event.name for event in events if event.device_type == DeviceType.CPU}
        found = [event for event in events if event.device_type == DeviceType.CUDA and event.name not in ranges]
        found = [event for event in found if not event.name.startswith(("Memcpy", "Memset"))]
    else:
        found = [event for event in events if event.name.startswith("aten::") and not event.cpu_children]
    return [(event.time_range.start / 1e6, event.time_range.end / 1e6) for event in found]


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
