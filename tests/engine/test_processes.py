"""Who starts the processes, and what is said where the answer is unclear."""

from argparse import Namespace

import pytest
from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from icpc_d2.engine.processes import ENVIRONMENT, launch


@pytest.fixture(autouse=True)
def _no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def launched(*flags: str) -> list[int]:
    """The number of processes that each call of `main` sees."""
    seen: list[int] = []

    def main(args: Namespace) -> None:
        seen.append(comm.get_world_size())

    launch(main, default_argument_parser().parse_args(flags))
    return seen


def test_a_single_process_runs_here() -> None:
    assert launched() == [1]


def test_variables_of_other_schedulers_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some set the number and rank of machines under these names."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert launched() == [1]


def test_an_incomplete_environment_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("RANK", "0")
    message = "not WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT: .*docs/slurm_train.sh"
    with pytest.raises(ValueError, match=message):
        launched()


@pytest.mark.parametrize("flags", [["--num-gpus", "2"], ["--num-machines", "2"]])
def test_two_who_start_processes_are_one_too_many(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="--nproc-per-node.*leave these flags out"):
        launched(*flags)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ValueError, match="LOCAL_RANK is 2, but torch finds 2 GPUs"):
        launched()
