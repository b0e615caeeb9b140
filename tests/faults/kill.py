#!/usr/bin/env python
"""Kill trainings at random moments, continue them, and compare their end, bit by bit, with one that was left alone.

    PYTHONPATH=. python tests/faults/kill.py --kills 25 --terms 25 --json kill.json

SIGKILL comes at a random moment of the run, every third one while a checkpoint is being written; SIGTERM at a random
moment. The file gets `runs`, `identical` and `lost` (runs that could not be continued to the end), and beside them how
many hit what they were meant to hit.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.utils.cpp_extension
import torch.utils.tensorboard

from tests.support.programs import fork, wait
from tests.support.training import make_data, read_trace, run_difference, train

TIMEOUT = 120  # seconds of a run


def is_writing(output: Path) -> bool:
    """Whether there is an unfinished checkpoint."""
    return any(output.glob(".tmp-*.pth"))


def wait_until(condition: Callable[[], bool], process: int) -> None:
    """Wait for something that a process does, as long as it runs."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if condition():
            break


class Runs:
    """The disturbed trainings of one folder, and the undisturbed one that they are compared with."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.data = make_data(folder / "data")
        self.undisturbed = folder / "undisturbed"
        began = time.monotonic()
        if wait(fork(lambda: train(self.data, self.undisturbed), folder / "undisturbed.log"), TIMEOUT):
            raise RuntimeError((folder / "undisturbed.log").read_text()[-4000:])
        self.seconds = time.monotonic() - began
        self.counts = dict.fromkeys(("runs", "identical", "lost", "in_writing", "signals_answered"), 0)

    def disturb(self, number: int, sig: signal.Signals, in_writing: bool) -> str:
        """End a run, continue it, compare; returns what is wrong."""
        output, log = self.folder / f"{number:03d}", self.folder / f"{number:03d}.log"
        # The result must not depend on workers either.
        workers = {"DATALOADER__NUM_WORKERS": int(number % 5 == 0)}
        process = fork(lambda: train(self.data, output, **workers), log)
        if in_writing:
            written = self.random.randint(0, 2)
            wait_until(lambda: is_writing(output) and len(list(output.glob("model_0*.pth"))) >= written, process)
        else:
            iterations = self.random.randint(0, len(read_trace(self.undisturbed)))
            wait_until(lambda: time.sleep(0.001) or len(read_trace(output)) >= iterations, process)
            time.sleep(self.random.uniform(0, 2 / len(read_trace(self.undisturbed))) * self.seconds)
        os.kill(process, sig)
        code = wait(process, TIMEOUT)
        self.counts["in_writing"] += is_writing(output)
        answered = code == 128 + signal.SIGTERM
        self.counts["signals_answered"] += answered
        done = len(read_trace(output))
        if code and wait(fork(lambda: train(self.data, output, resume=True), log), TIMEOUT):
            self.counts["lost"] += 1
            return f"it could not be continued: {log.read_text()[-2000:]}"
        if answered and len(read_trace(output)) != len(read_trace(self.undisturbed)):
            return f"work was lost: {done} iterations were done, and {len(read_trace(output))} in the end"
        try:
            return run_difference(output, self.undisturbed)
        except OSError as error:
            return f"it did not leave everything: {error}"

    def run(self, kills: int, terms: int) -> list[str]:
        """Disturb that many runs by SIGKILL and by SIGTERM; returns what was wrong."""
        faults = []
        plan = [(signal.SIGKILL, number % 3 == 0) for number in range(kills)] + [(signal.SIGTERM, False)] * terms
        for number, (sig, in_writing) in enumerate(plan):
            fault = self.disturb(number, sig, in_writing)
            self.counts["runs"] += 1
            self.counts["identical"] += not fault
            if fault:
                faults.append(f"run {number}, {sig.name}: {fault}")
                print(faults[-1], flush=True)
        return faults


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--terms", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="file for the counts")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="icpc_d2-kill-") as folder:
        runs = Runs(Path(folder), args.seed)
        faults = runs.run(args.kills, args.terms)
    counts = {**runs.counts, "kills": args.kills, "terms": args.terms, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(counts))
    if args.json:
        args.json.write_text(json.dumps({**counts, "faults": faults}, indent=2) + "\n")
    return int(counts["identical"] != counts["runs"])


if __name__ == "__main__":
    sys.exit(main())
