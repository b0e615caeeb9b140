"""Tests on a GPU: `make test-gpu`. With ICPC_TEST_DEVICE=cpu they run on the CPU, in small, to be known to work."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

DEVICE = os.environ.get("ICPC_TEST_DEVICE", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> str:
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU; ICPC_TEST_DEVICE=cpu runs these tests on the CPU, in small")
    return DEVICE


@pytest.fixture(autouse=True)
def _float32(device: str) -> Iterator[None]:
    """Compute products of float32 as such, not in TF32, and leave the GPU's memory to the next test."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value
    torch.cuda.empty_cache()
