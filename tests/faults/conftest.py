"""A tiny training that nothing happens to, and the data that it and the others train on."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.utils.logger import setup_logger

from tests.faults.tiny_run import make_data, train


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder data set; tests that damage it make their own."""
    return make_data(tmp_path_factory.mktemp("faults") / "data")


@pytest.fixture(scope="session")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a training of eight iterations."""
    output = tmp_path_factory.mktemp("undisturbed")
    train(data, output)
    return output


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Runs turn the propagation of logs off, which other tests listen to."""
    yield
    for name in ("icpc_d2", "detectron2", "fvcore"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    setup_logger.cache_clear()
