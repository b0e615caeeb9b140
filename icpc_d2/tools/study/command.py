"""Train several configs with several seeds and compare them: mean and standard deviation, as a table and a plot.

    icpc study configs/camvid/study/study.yaml --out output/camvid/study --jobs 2

The folder gets `table.md`, `results.json`, `scores` and `curves` (SVG, or as --plots says), and one folder for each
run. Started again, it skips finished runs and lets interrupted ones go on from their last checkpoint. Runs that fail
do not stop the others; their output is in `output.txt` of their folder, and the exit status is 1.
"""

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from icpc_d2.engine.run_folder.metrics import read_result
from icpc_d2.tools.study.plan import Study, StudyRun, read_study
from icpc_d2.tools.study.report import write_report
from icpc_d2.visualization.figure import SUFFIXES

ROOT = Path(__file__).parents[3]
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

    def seconds(self) -> float:
        """Return the seconds of this start, and of those before it."""
        return self.run.state().get("seconds", 0.0) + time.monotonic() - self.since


def train_all(study: Study, script: Path, jobs: int, threads: int) -> list[StudyRun]:
    """Train what is not finished, `jobs` runs at a time; return the runs that failed.

    Args:
        script: takes the command line of ``train_net.py``.
        threads: of PyTorch, in each run.
    """
    waiting = deque(run for run in study.runs if not run.is_finished())
    lengths = {run: run.iterations() for run in waiting}  # before the first start: a wrong config shows at once
    done = len(study.runs) - len(waiting)
    running: list[Started] = []
    failed: list[StudyRun] = []
    with progress_bar(len(study.runs), done) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(start(waiting.popleft(), script, threads, lengths))
                time.sleep(POLL_SECONDS)
                ended = [started for started in running if started.process.poll() is not None]
                for started in ended:
                    running.remove(started)
                    done += 1
                    if not finish(started, study.metric, bar):
                        failed.append(started.run)
                bar.set_postfix_str(f"({done} of {len(study.runs)} runs)", refresh=False)
                bar.update(done + sum(started.run.progress(started.iterations) for started in running) - bar.n)
        finally:
            for started in running:
                stop(started)
    return failed


def progress_bar(total: int, done: int) -> tqdm:
    """Return a bar whose unit is a run; time to go is by the average so far."""
    return tqdm(
        total=total,
        initial=done,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} to go {postfix}",
        mininterval=BAR_SECONDS[not sys.stderr.isatty()],
        miniters=0,
        smoothing=0,
    )


def start(run: StudyRun, script: Path, threads: int, lengths: dict[StudyRun, int]) -> Started:
    """Start a run in a process of its own."""
    run.save_state(finished=False, seconds=run.state().get("seconds", 0.0))
    # Threads of several processes would fight for the cores.
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with open(run.folder / "output.txt", "a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), *run.arguments()], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    return Started(run, process, time.monotonic(), lengths[run])


def finish(started: Started, metric: str, bar: tqdm) -> bool:
    """Note the end of a run and report its figure; return whether it succeeded."""
    run, status = started.run, started.process.returncode
    seconds = started.seconds()
    run.save_state(finished=status == 0, seconds=seconds)
    name = f"{run.label}, seed {run.seed}"
    if status:
        lines = (run.folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        failure = f"{name}: failed with exit status {status}; {run.folder / 'output.txt'} ends:"
        bar.write("\n    ".join([failure, *lines]))
        return False
    bar.write(f"{name}: {metric} {read_result(run.folder, metric):.2f}, {seconds:.0f} s")
    return True


def stop(started: Started) -> None:
    """Stop a run that is under way; it can go on later."""
    started.process.terminate()
    started.process.wait()
    started.run.save_state(finished=False, seconds=started.seconds())


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc study", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML: configs, seeds, and if needed title, metric, options")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (%(default)s)")
    parser.add_argument("--script", type=Path, default=ROOT / "train_net.py", help="yours, instead of train_net.py")
    parser.add_argument("--plots", choices=[suffix[1:] for suffix in SUFFIXES], default="svg", help="(%(default)s)")
    parser.add_argument("--report-only", action="store_true", help="train nothing; report on what is there")
    args = parser.parse_args(arguments)
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; wanted is at least 1")
    if not args.report_only and not args.script.is_file():
        parser.error(f"--script {args.script}: there is no such file; run this in a clone, or name your train_net.py")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 1 where a run failed."""
    args = parse_args(arguments)
    # `kill` must stop the runs as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        study = read_study(args.study, args.out)
        threads = max(1, (os.cpu_count() or 1) // args.jobs)
        failed = [] if args.report_only else train_all(study, args.script, args.jobs, threads)
        table = write_report(study, args.out, args.plots)
        print(f"\n{table}\n\nIn {args.out}: {', '.join(sorted(os.listdir(args.out)))}")
    except (OSError, ValueError) as error:
        print(f"{args.study}: {error}" if str(args.study) not in str(error) else error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if failed else 0
