"""Two processes that are ended early, again and again, end with the bits of two that were not."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.documents import commands_of
from tests.support.programs import ROOT, run_ranks
from tests.support.training import SIZES, difference, end_state

SPAWNED, BY_TORCHRUN, *_ = (
    re.sub(r" 8\b", " 2", command.replace("ade20k/icpc_R50", "camvid/icpc_tiny"))
    for command in commands_of("docs/distributed.md")
)
ENDED = "The training ended early: continue with --resume."
OPTIONS = SIZES | {
    "SOLVER.IMS_PER_BATCH": "4",
    "SOLVER.MAX_ITER": "40",
    "SOLVER.CHECKPOINT_PERIOD": "4",
    "TEST.EVAL_PERIOD": "30",
}


def options(data: Path, output: Path) -> list[str]:
    data_sets = {"DATASETS.TRAIN": f"('folder:{data}/train',)", "DATASETS.TEST": f"('folder:{data}/val',)"}
    return [word for pair in (OPTIONS | data_sets | {"OUTPUT_DIR": str(output)}).items() for word in pair]


@contextmanager
def started(program: str, data: Path, output: Path, *flags: str) -> Iterator[subprocess.Popen]:
    """A training by two processes, as the leader of a process group; what it says is appended to ``said.txt``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    # Detectron2's own choice of a port is the same one every time.
    port = ("--dist-url", "auto") if program == SPAWNED else ()
    output.mkdir(exist_ok=True)
    with (
        (output / "said.txt").open("a") as said,
        subprocess.Popen(
            [*shlex.split(program), *flags, *port, *options(data, output)],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said(output: Path) -> str:
    return (output / "said.txt").read_text()


def train(data: Path, output: Path, *flags: str) -> None:
    """Train to the end by two forked processes."""
    output.mkdir(exist_ok=True)
    words = [*shlex.split(SPAWNED.replace("--num-gpus 2", "")), *flags, *options(data, output)]
    assert run_ranks(words, output / "said.txt") == 0, said(output)[-4000:]


def train_until(signal_number: signal.Signals, whom: str, program: str, data: Path, output: Path) -> int:
    """Train until there is a checkpoint more, and send a signal to one process or to all; returns the exit code."""
    before, ends = set(output.glob("model_0*.pth")), said(output).count(ENDED) if output.exists() else 0
    until = time.monotonic() + 120
    with started(program, data, output, "--resume") as process:
        while set(output.glob("model_0*.pth")) <= before:
            assert process.poll() is None and time.monotonic() < until, said(output)[-4000:]
            time.sleep(0.01)
        (os.killpg if whom == "all" else os.kill)(process.pid, signal_number)
        code = process.wait(timeout=120)
    assert not (output / "model_final.pth").exists(), "the signal came too late"
    assert said(output).count(ENDED) > ends
    return code


@pytest.mark.slow
def test_what_was_ended_goes_on_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "output"
    train(data, undisturbed)
    assert "SyncBN -> naiveSyncBN (2 process(es) on cpu)" in said(undisturbed)

    # As a terminal's Ctrl-C; then to the one alone that has started the others.
    assert train_until(signal.SIGINT, "all", SPAWNED, data, output) == 128 + signal.SIGINT
    assert train_until(signal.SIGTERM, "one", SPAWNED, data, output) == 128 + signal.SIGTERM
    assert train_until(signal.SIGTERM, "one", BY_TORCHRUN, data, output) != 0
    train(data, output, "--resume")
    assert difference(end_state(output), end_state(undisturbed)) == ""
