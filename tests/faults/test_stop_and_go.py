"""Trainings that are ended early, in every way, and continued to the bits of one that was not."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.engine import HookBase
from torch.utils.data import _utils

from icpc_d2.data import BadFileError
from icpc_d2.engine.hooks.stopping import Stopped
from icpc_d2.engine.run_folder.output_folder import LOCK, METRICS, OutputFolder
from tests.support.documents import commands_of, place
from tests.support.programs import run_forked
from tests.support.training import difference, end_state, make_data, make_trainer, read_trace, run_difference, train


class At(HookBase):
    """Does something once, after the backward pass of an iteration or after the whole of it."""

    def __init__(self, iteration: int, action: Callable[[], Any]) -> None:
        self._iteration, self._action = iteration, action

    def after_step(self) -> None:
        if self.trainer.iter == self._iteration:
            self._action()

    after_backward = after_step


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def traced(output: Path) -> list[int]:
    return [line["iteration"] for line in read_trace(output)]


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_no_iteration_is_lost(
    data: Path, undisturbed: Path, tmp_path: Path, sig: signal.Signals
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    trainer = make_trainer(data, tmp_path)
    trainer._trainer.register_hooks([At(4, send(sig))])  # within the step
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    assert stopped.value.code == 128 + sig
    assert torch.load(tmp_path / "model_0000004.pth", weights_only=True)["iteration"] == 4
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert "The training ended early: continue with --resume." in (tmp_path / "log.txt").read_text()
    if sig == signal.SIGINT:
        return  # from here on it is the same
    train(data, tmp_path, resume=True)
    assert traced(tmp_path) == list(range(8))
    assert run_difference(tmp_path, undisturbed) == ""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as Python has it, also where the tests are a script's background job, which starts with it ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_second_interrupt_ends_at_once(interruptible: None, data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path)
    trainer._trainer.register_hooks([At(3, send(signal.SIGINT)), At(3, send(signal.SIGINT))])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert not (tmp_path / "model_0000003.pth").exists(), "the step was not complete"
    assert (tmp_path / "model_0000001.pth").exists()


def test_a_bad_file_saves_a_checkpoint_and_mended_it_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    data, output = make_data(tmp_path / "data"), tmp_path / "output"
    file = data / "images" / "train" / "3.png"
    whole = file.read_bytes()
    trainer = make_trainer(data, output, DATALOADER__NUM_WORKERS=1)  # looks at some of the files
    file.write_bytes(whole[:100])
    with pytest.raises(BadFileError, match=r"3\.png: wanted a readable image"):
        trainer.train()
    done = len(traced(output))
    assert done < 3, "an epoch has three iterations"
    assert (output / f"model_{done - 1:07d}.pth").exists() == (done > 0)
    file.write_bytes(whole)
    train(data, output, resume=True)
    assert traced(output) == list(range(8))
    assert difference(end_state(output), end_state(undisturbed)) == ""


def test_a_worker_that_is_killed_ends_the_training_between_two_steps(
    data: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    trainer = make_trainer(data, tmp_path, DATALOADER__NUM_WORKERS=1)

    def kill_worker() -> None:
        (worker,) = trainer._trainer._data_loader_iter.gi_frame.f_locals["iterator"]._workers
        os.kill(worker.pid, signal.SIGKILL)

    trainer._trainer.register_hooks([At(4, kill_worker)])
    with pytest.raises(RuntimeError, match=r"DataLoader worker.*run out of memory: lower DATALOADER\.NUM_WORKERS"):
        trainer.train()
    done = traced(tmp_path)[-1]
    assert done < 7
    assert (tmp_path / f"model_{done:07d}.pth").exists()
    train(data, tmp_path, resume=True)
    assert traced(tmp_path) == list(range(8))
    assert run_difference(tmp_path, undisturbed) == ""


def test_an_evaluation_that_fails_costs_no_training(undisturbed: Path, tmp_path: Path) -> None:
    data, output = make_data(tmp_path / "data"), tmp_path / "output"
    label = data / "labels" / "val" / "0.png"
    whole = label.read_bytes()
    label.write_bytes(b"")
    with pytest.raises(BadFileError, match=r"0\.png"):
        train(data, output)
    assert traced(output) == list(range(5))
    assert (output / "model_0000004.pth").exists()
    label.write_bytes(whole)
    train(data, output, resume=True)
    assert difference(end_state(output), end_state(undisturbed)) == "", "the evaluation is caught up with"


def test_a_finished_run_can_be_resumed(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "again"
    shutil.copytree(undisturbed, output)
    (output / "results.json").unlink()
    train(data, output, resume=True)
    assert run_difference(output, undisturbed) == ""


def test_the_final_checkpoint_is_made_up_for(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "again"
    shutil.copytree(undisturbed, output)
    (output / "model_final.pth").unlink()
    (output / "last_checkpoint").write_text("model_0000007.pth")
    train(data, output, resume=True)
    assert run_difference(output, undisturbed) == ""


def test_a_damaged_newest_checkpoint_costs_a_period(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path)
    trainer._trainer.register_hooks([At(6, send(signal.SIGTERM))])
    with pytest.raises(Stopped):
        trainer.train()
    os.truncate(tmp_path / "model_0000006.pth", 1000)
    train(data, tmp_path, resume=True)
    assert traced(tmp_path) == [*range(7), *range(6, 8)]
    assert run_difference(tmp_path, undisturbed) == ""


def test_a_new_training_does_not_write_over_another(data: Path, undisturbed: Path) -> None:
    before = (undisturbed / "model_final.pth").read_bytes()
    with pytest.raises(FileExistsError, match=r"holds checkpoints of an earlier training.*--resume"):
        make_trainer(data, undisturbed)
    assert (undisturbed / "model_final.pth").read_bytes() == before


def test_two_trainings_in_one_folder(data: Path, tmp_path: Path) -> None:
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", holder, str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(BlockingIOError, match="Another process trains into OUTPUT_DIR"):
            make_trainer(data, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [LOCK], "nothing of the other was written over"
        other.kill()
    make_trainer(data, tmp_path)  # a lock does not outlive its process


def test_metrics_that_are_measured_again_are_cut(tmp_path: Path) -> None:
    lines = [json.dumps({"iteration": iteration, "loss": 1.0}) + "\n" for iteration in (0, 1, 2, 3)]
    for torn in ("", '{"iteration": 4, "lo'):
        (tmp_path / METRICS).write_text("".join(lines) + torn)
        with (tmp_path / METRICS).open("a") as held:
            OutputFolder(tmp_path).cut_metrics(2)
            held.write(lines[2])
        assert (tmp_path / METRICS).read_text() == "".join(lines[:3])


def test_an_output_folder_that_cannot_be_written_is_said_at_once(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"OUTPUT_DIR .*file/output cannot be written \(.*\): choose another one"):
        make_trainer(data, tmp_path / "file" / "output")


def test_a_seed_that_was_drawn_is_kept(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path, SEED=-1)
    trainer._trainer.register_hooks([At(2, send(signal.SIGTERM))])
    with pytest.raises(Stopped):
        trainer.train()
    resumed = make_trainer(data, tmp_path, resume=True, SEED=-1)
    assert resumed.cfg.SEED == trainer.cfg.SEED >= 0
    assert resumed.start_iter == 3


@pytest.mark.slow
def test_killed_runs_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    kill, *_ = commands_of("docs/reliability.md")
    words = shlex.split(kill.replace("25", "1"))[1:]  # but for PYTHONPATH
    run = run_forked(words, place(tmp_path, "icpc_d2", "tests"))
    assert run.returncode == 0, run.stdout
    found = json.loads((tmp_path / "kill.json").read_text())
    assert (found["runs"], found["identical"], found["lost"]) == (2, 2, 0)
