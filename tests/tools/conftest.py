"""A tiny model with random weights, as training leaves it, and the web page that shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.app import command as app
from icpc_d2.tools.app.workbench import Workbench
from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.page import CLASSES, LIMITS


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's model for four classes, with its config beside it."""
    cfg = tiny_cfg("MODEL.CLASS_NAMES", CLASSES, "INPUT.MIN_SIZE_TEST", 160)
    return write_checkpoint(tmp_path_factory.mktemp("model"), cfg)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The quickstart's model, for images whose shorter side is 32 pixels."""
    return str(write_checkpoint(tmp_path_factory.mktemp("model"), tiny_cfg("INPUT.MIN_SIZE_TEST", 32)))


@pytest.fixture(scope="session")
def predictor(checkpoint: Path) -> Predictor:
    """The model of `checkpoint` on the CPU."""
    return Predictor(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def server(predictor: Predictor) -> Iterator[str]:
    """The address of a page with this model."""
    with app.serve(Workbench(predictor, LIMITS), "127.0.0.1", 0, None, "random.pth") as url:
        yield url
