"""Two processes that are ended early, again and again, end with the bits of two that were not."""

import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.documents import commands_of
from tests.support.programs import ROOT, fork, run_python, run_ranks, wait
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
def started(program: str, data: Path, output: Path, *flags: str) -> Iterator[int]:
    """A training by two processes, as the leader of a process group; what it says is appended to ``said.txt``."""
    output.mkdir(exist_ok=True)
    # Detectron2's own choice of a port is the same one every time.
    port = ("--dist-url", "auto") if program == SPAWNED else ()
    words = [*shlex.split(program), *flags, *port, *options(data, output)]
    run = partial(run_python, words[1:], ROOT) if program == SPAWNED else partial(replace, words)
    process = fork(partial(lead, run), output / "said.txt")
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def lead(run: Callable[[], None]) -> None:
    """Run as the leader of a process group, by one thread."""
    os.setsid()
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    run()


def replace(words: list[str]) -> None:
    """Become another program."""
    os.chdir(ROOT)
    os.execvp(Path(sys.executable).parent / words[0], words)


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
            assert os.waitpid(process, os.WNOHANG) == (0, 0) and time.monotonic() < until, said(output)[-4000:]
            time.sleep(0.01)
        (os.killpg if whom == "all" else os.kill)(process, signal_number)
        code = wait(process, timeout=120)
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
