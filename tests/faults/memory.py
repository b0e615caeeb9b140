#!/usr/bin/env python
"""Train for a long time and see whether memory and speed stay flat (Linux).

    PYTHONPATH=. python tests/faults/memory.py --minutes 45 --json memory.json \\
        --config-file configs/camvid/icpc_tiny.yaml OUTPUT_DIR output/memory

The training runs by train_net.py in a process of its own, until SIGTERM ends it after so many minutes. Every ten
seconds its resident size is read, together with that of the loader's workers, and the iteration that it has come to.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from icpc_d2.config.load import load_config
from icpc_d2.engine.run_folder.metrics import read_metrics

ROOT = Path(__file__).parents[2]
PERIOD = 10.0  # seconds between samples, of a run that is long enough
SETTLED = 10.0  # minutes after which memory should stay as it is
MAX_GROWTH = 0.03


def resident(process: int) -> float:
    """The resident size of a process, in MiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def children(process: int) -> list[int]:
    """The processes that it has started: the loader's workers."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def sample(process: int, output: Path, batch_size: int, began: float) -> dict[str, float]:
    """Minutes since the start, sizes in MiB, and images trained on so far."""
    iteration = max((int(line["iteration"]) for line in read_metrics(output)), default=0)
    return {
        "minute": (time.monotonic() - began) / 60,
        "rss": resident(process),
        "rss_workers": sum(resident(child) for child in children(process)),
        "images": iteration * batch_size,
    }


def watch(command: Sequence[str], output: Path, batch_size: int, minutes: float) -> tuple[list[dict[str, float]], int]:
    """Run a training for so many minutes from its first metrics on; returns the samples and the exit code."""
    period = min(PERIOD, 60 * minutes / 12)
    samples = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as training:
        while training.poll() is None and not read_metrics(output):
            time.sleep(0.1)
        began = time.monotonic()
        while training.poll() is None and time.monotonic() - began < 60 * minutes:
            time.sleep(period)
            samples.append(sample(training.pid, output, batch_size, began))
        training.send_signal(signal.SIGTERM)
        return [point for point in samples if point["rss"]], training.wait(600)


def window(samples: Sequence[dict[str, float]], start: float, end: float, name: str) -> float:
    """The mean of a figure between two minutes."""
    values = [point[name] for point in samples if start <= point["minute"] <= end]
    return mean(values) if values else float("nan")


def speed(samples: Sequence[dict[str, float]], start: float, end: float) -> float:
    """Images per second between two minutes, evaluations included."""
    part = [point for point in samples if start <= point["minute"] <= end]
    seconds = 60 * (part[-1]["minute"] - part[0]["minute"]) if len(part) > 1 else 0
    return (part[-1]["images"] - part[0]["images"]) / seconds if seconds else float("nan")


def summarize(samples: Sequence[dict[str, float]]) -> dict[str, Any]:
    """How memory and speed have changed, from when the run had settled to its end."""
    last = samples[-1]["minute"]
    settled = min(SETTLED, last / 3)
    width = max(last / 20, 3 * PERIOD / 60)
    before, after = (window(samples, at - width, at, "rss") for at in (settled + width, last))
    halfway = (settled + last) / 2
    return {
        "minutes": round(last, 1),
        "settled_minute": round(settled, 1),
        "rss_settled": round(before, 1),
        "rss_end": round(after, 1),
        "growth": round(after / before - 1, 4),
        "is_flat": abs(after / before - 1) <= MAX_GROWTH,
        "rss_workers_end": round(window(samples, last - width, last, "rss_workers"), 1),
        "images_per_second": [round(speed(samples, *span), 2) for span in ((settled, halfway), (halfway, last))],
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="configs/camvid/icpc_tiny.yaml")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--json", type=Path, help="file for the summary and all samples")
    parser.add_argument("options", nargs="*", help="KEY VALUE pairs")
    args = parser.parse_args(arguments)
    # Longer than any training takes, so that the signal ends it.
    options = ["SOLVER.MAX_ITER", "10000000", *args.options]
    cfg = load_config(args.config_file, options)
    command = [sys.executable, "train_net.py", "--config-file", args.config_file, *options]
    samples, code = watch(command, Path(cfg.OUTPUT_DIR), cfg.SOLVER.IMS_PER_BATCH, args.minutes)
    if len(samples) < 6:
        print(f"the training ended by itself with code {code}; see {os.path.join(cfg.OUTPUT_DIR, 'log.txt')}")
        return 1
    summary = {**summarize(samples), "exit_code": code}
    print(json.dumps(summary))
    if args.json:
        args.json.write_text(json.dumps({**summary, "samples": samples}, indent=1) + "\n")
    return int(not summary["is_flat"] or code != 128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
