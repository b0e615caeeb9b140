"""docs/distributed.md: two machines, started in either way, train the same weights; here both are this one."""

import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.support.datasets import save_folder_dataset
from tests.support.documents import SMALL, commands_of, run_outside, settings
from tests.support.programs import free_port, run_forked
from tests.support.results import read_results
from tests.support.training import difference

CONFIG = "configs/ade20k/icpc_R50.yaml"
DATA = settings(DATASETS__TRAIN="('folder:mine/train',)", DATASETS__TEST="('folder:mine/val',)")


def on_machines(command: str) -> list[str]:
    """A command of the page on each of two machines, with one process each."""
    command = command.replace("--num-gpus 8", "--num-gpus 1").replace("--nproc-per-node 8", "--nproc-per-node 1")
    command = command.replace("FIRST-MACHINE:29500", f"127.0.0.1:{free_port()}")
    return [command, command.replace("--machine-rank 0", "--machine-rank 1")]


def run_on_machine(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run what starts processes: forked, if it is Python's script."""
    return run_forked(shlex.split(command), folder) if command.startswith("python ") else run_outside(command, folder)


@pytest.mark.slow
def test_two_machines_train_the_same_however_started(clone: Path) -> None:
    save_folder_dataset(clone / "mine")
    (clone / "mine/classes.txt").write_text("sky\nroad\ntree\n")
    # tests/faults/test_two_processes.py runs those of one machine, tests/engine/test_distributed.py the script.
    commands = [command for command in commands_of("docs/distributed.md") if "FIRST-MACHINE" in command]
    assert len(commands) == 2
    found = []
    for number, command in enumerate(commands):
        output = clone / f"output/{number}"
        options = shlex.join([*SMALL, *DATA, "SOLVER.MAX_ITER", "3", "OUTPUT_DIR", str(output)])
        each = [f"{one} {options}" for one in on_machines(command.replace(CONFIG, "configs/quickstart/icpc_tiny.yaml"))]
        with ThreadPoolExecutor() as machines:
            ended = list(machines.map(lambda one: run_on_machine(one, clone), each))
        assert not any(one.returncode for one in ended), "\n".join(one.stdout for one in ended)[-12000:]
        assert "World size: 2" in (output / "log.txt").read_text()
        weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
        found.append((weights, read_results(output)))
    assert not [number for number, one in enumerate(found) if difference(one, found[0])]
