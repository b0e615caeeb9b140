"""Train several configs with several seeds and compare them: mean, standard deviation, and verdicts on claims.

    icpc study configs/camvid/study/study.yaml --out output/camvid/study --jobs 2
    icpc study configs/miniature/plan.yaml --out output/miniature --jobs 2

The folder gets `table.md`, `results.json`, `scores` and `curves` of each table (SVG, or as --plots says), and one
folder for each run. Started again, it skips finished runs and lets interrupted ones go on from their last checkpoint.
Runs that fail do not stop the others; their output is in `output.txt` of their folder, and the exit status is 1. The
runs are shared out among several GPUs, if there are some. KEY VALUE pairs at the end change the config of every run, as
`MODEL.DEVICE cuda` does.
"""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from icpc_d2.tools.study.plan import read_study
from icpc_d2.tools.study.report import write_report
from icpc_d2.tools.study.runs import StudyRun
from icpc_d2.tools.study.schedule import Schedule
from icpc_d2.tools.study.tables import Study
from icpc_d2.visualization.figure import SUFFIXES

ROOT = Path(__file__).parents[3]


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc study", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML: configs and seeds, or trainings, tables, claims and seeds")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (%(default)s)")
    parser.add_argument("--script", type=Path, default=ROOT / "train_net.py", help="yours, instead of train_net.py")
    parser.add_argument("--plots", choices=[suffix[1:] for suffix in SUFFIXES], default="svg", help="(%(default)s)")
    parser.add_argument("--num-seeds", type=int, default=0, metavar="N", help="the seeds 0 to N - 1, not the file's")
    parser.add_argument("--table", action="append", default=[], metavar="NAME", help="run this table's rows alone")
    parser.add_argument("--report-only", action="store_true", help="train nothing; report on what is there")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="for all runs")
    args = parser.parse_intermixed_args(arguments)
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; wanted is at least 1")
    if args.num_seeds < 0:
        parser.error(f"--num-seeds is {args.num_seeds}; wanted is at least 1, or 0 for the file's")
    if not args.report_only and not args.script.is_file():
        parser.error(f"--script {args.script}: there is no such file; run this in a clone, or name your train_net.py")
    return args


def run_all(study: Study, args: Namespace) -> list[StudyRun]:
    """Make all runs that are not finished; return those that failed."""
    study.check_metrics()
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    schedule = Schedule(study.metrics, args.script, args.jobs, threads)
    schedule.work()
    return schedule.failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 1 where a run failed."""
    args = parse_args(arguments)
    # `kill` must stop the runs as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        study = read_study(args.study, args.out, args.options, args.num_seeds)
        failed = [] if args.report_only else run_all(study.only(args.table) if args.table else study, args)
        table = write_report(study, args.out, args.plots)
        print(f"\n{table}\n\nIn {args.out}: {', '.join(sorted(os.listdir(args.out)))}")
    except (OSError, ValueError) as error:
        print(f"{args.study}: {error}" if str(args.study) not in str(error) else error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if failed else 0
