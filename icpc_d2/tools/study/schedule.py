"""The runs of a study, several side by side, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from icpc_d2.engine.run_folder.metrics import read_result
from icpc_d2.tools.study.runs import StudyRun

POLL_SECONDS = 0.5
# Between two states of the progress bar: on a terminal, and in a file.
BAR_SECONDS = (1.0, 30.0)
# Of a failed run's output.
SHOWN_LINES = 12


class Started(NamedTuple):
    """A run under way."""

    run: StudyRun
    process: subprocess.Popen
    since: float  # time.monotonic()
    iterations: int
    slot: int  # its place among those that run side by side, from 0 on

    def seconds(self) -> float:
        """Return the seconds of this start, and of those before it."""
        return self.run.state().get("seconds", 0.0) + time.monotonic() - self.since

    def effort_done(self) -> float:
        """Return how much of the run's effort is done."""
        return self.run.effort * self.run.progress(self.iterations)


class Schedule:
    """Makes the runs that are not finished, `jobs` at a time, an evaluation once its training is there.

    Args:
        runs: each with the names of the figures that its end reports.
        script: takes the command line of ``train_net.py``.
        threads: of PyTorch, in each run.

    Raises:
        ValueError, OSError: a config is wrong, or the weights that it names cannot be had.
    """

    def __init__(self, runs: Mapping[StudyRun, Sequence[str]], script: Path, jobs: int, threads: int) -> None:
        self._script, self._jobs, self._threads = script, jobs, threads
        self._metrics = runs
        self._waiting = [run for run in runs if not run.is_finished()]
        # Before the first start: what is wrong with a config shows at once.
        self._lengths = {}
        for config, run in {(run.config, run.options): run for run in self._waiting}.items():
            self._lengths[config] = run.iterations()
            run.fetch_weights()
        self._ended = [run for run in runs if run not in self._waiting]
        self._running: list[Started] = []
        self._total = len(runs)
        self.failed: list[StudyRun] = []  # and what could not be evaluated for that reason

    def work(self) -> None:
        """Make all runs; those under way are stopped, to go on later, if this is interrupted."""
        with _progress_bar(sum(run.effort for run in [*self._waiting, *self._ended]), self._effort_done()) as bar:
            try:
                while self._waiting or self._running:
                    self._start_ready(bar)
                    time.sleep(POLL_SECONDS)
                    for started in [started for started in self._running if started.process.poll() is not None]:
                        self._running.remove(started)
                        self._end(started.run, _finish(started, self._metrics[started.run], bar))
                    bar.set_postfix_str(f"({len(self._ended)} of {self._total} runs)", refresh=False)
                    bar.update(self._effort_done() - bar.n)
            finally:
                for started in self._running:
                    _stop(started)

    def _start_ready(self, bar: tqdm) -> None:
        for run in [run for run in self._waiting if run.training in self.failed]:
            self._waiting.remove(run)
            bar.write(f"{run.label}, seed {run.seed}: nothing to evaluate, since its training has failed")
            self._end(run, False)
        ready = [run for run in self._waiting if run.training is None or run.training in self._ended]
        taken = {started.slot for started in self._running}
        for slot, run in zip([slot for slot in range(self._jobs) if slot not in taken], ready, strict=False):
            self._waiting.remove(run)
            self._running.append(_start(run, self._script, self._threads, self._lengths[run.config, run.options], slot))

    def _end(self, run: StudyRun, succeeded: bool) -> None:
        self._ended.append(run)
        if not succeeded:
            self.failed.append(run)

    def _effort_done(self) -> float:
        return sum(run.effort for run in self._ended) + sum(started.effort_done() for started in self._running)


def _progress_bar(total: float, done: float) -> tqdm:
    """Return a bar whose unit is a training; time to go is by the average so far."""
    return tqdm(
        total=total,
        initial=done,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} to go {postfix}",
        mininterval=BAR_SECONDS[not sys.stderr.isatty()],
        miniters=0,
        smoothing=0,
    )


def _start(run: StudyRun, script: Path, threads: int, iterations: int, slot: int) -> Started:
    """Start a run in a process of its own."""
    run.save_state(finished=False, seconds=run.state().get("seconds", 0.0))
    # Threads of several processes would fight for the cores.
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **_gpu(slot)}
    with open(run.folder / "output.txt", "a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), *run.arguments()], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    return Started(run, process, time.monotonic(), iterations, slot)


def _gpu(slot: int) -> dict[str, str]:
    """Share several GPUs out: return the environment in which a run sees one of those that this process sees."""
    count = torch.cuda.device_count()
    if count < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[slot % count]}


def _finish(started: Started, metrics: Sequence[str], bar: tqdm) -> bool:
    """Note the end of a run and report it; return whether it succeeded."""
    run, status = started.run, started.process.returncode
    seconds = started.seconds()
    run.save_state(finished=status == 0, seconds=seconds)
    name = f"{run.label}, seed {run.seed}"
    if status:
        lines = (run.folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        failure = f"{name}: failed with exit status {status}; {run.folder / 'output.txt'} ends:"
        bar.write("\n    ".join([failure, *lines]))
        return False
    figures = [f"{metric} {read_result(run.folder, metric):.2f}" for metric in metrics]
    bar.write(f"{name}: {', '.join([*figures, f'{seconds:.0f} s'])}")
    return True


def _stop(started: Started) -> None:
    """Stop a run that is under way; it can go on later."""
    started.process.terminate()
    started.process.wait()
    started.run.save_state(finished=False, seconds=started.seconds())
