"""A predictor of the quickstart's networks, untrained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from icpc_d2.inference.predictor import Predictor
from tests.support.checkpoints import tiny_cfg, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"), tiny_cfg())


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint, "cpu")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Predictor]:
    """A predictor for the quickstart's model, changed by config options."""
    return lambda *options: Predictor(write_checkpoint(tmp_path, tiny_cfg(*options)), "cpu")
