"""The most memory that a process has taken so far."""

import resource
import sys

import torch


def peak_memory(device: torch.device) -> float:
    """Return it in MiB: on a GPU PyTorch's allocated memory, else the resident memory of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return max_rss()


def max_rss() -> float:
    """Return the peak of the process's resident memory, in MiB."""
    # In KiB but on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
