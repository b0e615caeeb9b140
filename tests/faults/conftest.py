"""A tiny training that nothing happens to, and the data that it and the others train on."""

from pathlib import Path

import pytest

from tests.support.training import make_data, train


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
def _runs_leave_no_logs(logs_as_before: None) -> None:
    """Every test here runs trainings."""
