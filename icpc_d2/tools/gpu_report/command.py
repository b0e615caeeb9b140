"""Times of trainings and evaluations on a GPU, in a report that is there whenever it is ended.

icpc gpu-report --out output/gpu_report --minutes 12

The rows of most worth come first: a training step, the forward pass and the evaluation of RN50, RN101 and ViT-B/16, by
ICPC, by DenseCLIP, by ICPC in the paper's own form and by CLIP + Semantic FPN, with 150 and 847 classes, in bfloat16,
TF32 and float32. It needs neither data nor weights nor network. `--device cpu --tiny` tries it out without a GPU.
"""

import gc
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import torch

from icpc_d2.config import ConfigError
from icpc_d2.tools.gpu_report.measurements import measure_mapper, measure_row
from icpc_d2.tools.gpu_report.report import DeviceReport, describe_environment
from icpc_d2.tools.gpu_report.rows import BACKBONES, ReportRow, list_rows, read_row_config


class Deadline:
    """Tells whether there is time for another row: as much as the longest one so far has taken."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self._longest = 0.0
        self._last: float | None = None

    def leaves_time(self) -> bool:
        """Tell whether a row can begin; to be asked before each of them."""
        now = time.monotonic()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        return now + self._longest < self._end


def parse_args(arguments: Sequence[str]) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc gpu-report", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets report.md and report.json")
    parser.add_argument("--minutes", type=float, default=12.0, metavar="M", help="time for all rows; default 12")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the quickstart's networks, 64 pixels and few classes")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="changes of all configs")
    args = parser.parse_intermixed_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu --tiny tries the command out without one")
    if args.minutes <= 0:
        parser.error(f"--minutes is {args.minutes:g}; wanted is a number above 0")
    return args


def measure_rows(args: Namespace, report: DeviceReport) -> None:
    """Measure row after row until the time is up."""
    deadline = Deadline(args.minutes)
    for backbone in BACKBONES:
        row = ReportRow("training", backbone, 150, "float32", "ICPC")
        # Of full-size crops also in a trial.
        report.mapper[backbone] = measure_mapper(read_row_config(row, args.device, False, args.options))
    for row in report.planned:
        if not deadline.leaves_time():
            return
        figures = measure_row(row, args.device, args.tiny, args.options)
        report.add(row, figures)
        time_of_row = f"{1000 * figures['seconds']:.1f} ms" if "seconds" in figures else figures["status"]
        print(f"{row}: {time_of_row}", flush=True)
        # A model is part of circles, and must not take memory from the next one.
        gc.collect()
        torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 1 where a row failed for another reason than memory."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    args = parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["icpc", "gpu-report", *arguments])
    report = DeviceReport(args.out, command, describe_environment(args.device), list_rows())
    report.write()
    try:
        measure_rows(args, report)
    except ConfigError as error:
        print(f"icpc gpu-report: error: {error}", file=sys.stderr)
        return 2
    finally:
        report.write()
    failed = [row for row, figures in report.rows.items() if figures["status"].startswith("failed")]
    for row in failed:
        print(f"{row}: {report.rows[row]['status']}", file=sys.stderr)
    print(f"{len(report.rows)} of {len(report.planned)} rows; see {args.out / 'report.md'}")
    return 1 if failed else 0
