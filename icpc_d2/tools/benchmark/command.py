"""Time and peak memory of what this project computes in another order, against the paper's form, on random weights.

icpc benchmark text --classes 847 --batch 2
icpc benchmark inference --size 1024 --against denseclip
icpc benchmark step --device cuda MODEL.CHANNELS_LAST True SOLVER.AMP.ENABLED True
icpc benchmark kernels
icpc benchmark folding --device cuda

`step` compares a step of the training with itself without the options. `kernels` measures no time: it counts the
operators that a step and an inference call, and the values that they wait for, as on `--as-device` but on the CPU.
`folding` times all forms of the laterals over the score maps, for several numbers of classes, beside the chosen one.

Both forms run in one process and in turns, and medians are compared; so are their results and gradients, and a
difference above the tolerance is an error. Peak memory is measured in a process for each form, as the rise above what
is in use before. No other program should run meanwhile.
"""

import json
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import torch

from icpc_d2.analysis.macs import count_macs
from icpc_d2.analysis.timing import alternate, max_abs_diff, max_rel_diff, peak_growth
from icpc_d2.config import get_config_file
from icpc_d2.tools.benchmark.cases import CASES, Case, build_case, load_case_config
from icpc_d2.tools.benchmark.folding import format_times, time_forms
from icpc_d2.tools.benchmark.kernels import count_kernels, format_counts

# float32, largest difference of outputs, and of gradients relative to the largest of their tensor; of cases whose two
# computations give the same.
TOLERANCES = {
    "text": (1e-4, 1e-4),
    "alignment": (1e-4, 1e-4),
    "loss": (1e-5, 1e-4),
    "inference": (0.0, 0.0),
    "train": (1e-4, 1e-2),
}
DIFFERENCES = ("max_abs_diff", "max_rel_grad_diff")


def measure(case: Case, repeats: int) -> dict[str, float | None]:
    """Compare the two computations of a case in this process; without memory."""
    naive_s, ours_s = alternate(case.naive, case.ours, repeats)
    figures = {"naive_s": naive_s, "ours_s": ours_s, "speedup": naive_s / ours_s}
    if not case.comparable:
        return figures | dict.fromkeys(DIFFERENCES)
    naive, ours = case.naive(), case.ours()
    return figures | {
        "max_abs_diff": max_abs_diff(ours.outputs, naive.outputs),
        "max_rel_grad_diff": max_rel_diff(ours.gradients, naive.gradients),
    }


def measure_peak(arguments: Sequence[str], form: str) -> float:
    """Measure the peak memory of one form in a process of its own, in MiB."""
    command = [sys.executable, "-m", "icpc_d2.tools.benchmark", *arguments, "--peak-of", form]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {form} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def differences(case: str, figures: dict[str, float | None]) -> list[str]:
    """Say what is further apart than the case's tolerance, in sentences."""
    return [
        f"{name} is {figures[name]:.2g}, wanted at most {tolerance:.2g}"
        for name, tolerance in zip(DIFFERENCES, TOLERANCES.get(case, (0.0, 0.0)), strict=True)
        # "not <=", so that NaN is a difference.
        if figures[name] is not None and not figures[name] <= tolerance
    ]


def count(case: Case) -> str:
    """Count the multiply-adds of both forms, with their backward passes; of a case on the meta device."""
    # Once for what is kept between images.
    case.ours()
    naive, ours = (count_macs(compute).total() / 1e9 for compute in (case.naive, case.ours))
    return f"{naive:.4g} and {ours:.4g} GMACs, ratio {naive / ours:.2f}"


def format_figures(args: Namespace, titles: tuple[str, str], figures: dict[str, float | None]) -> str:
    """Format the figures as a small table."""
    threads = f", {torch.get_num_threads()} thread(s)" if args.device == "cpu" else ""
    lines = [
        f"{args.device}{threads}, median of {args.repeats}",
        f"{'':12}{titles[0]:>12}{titles[1]:>12}{'ratio':>10}",
        f"{'seconds':12}{figures['naive_s']:12.3f}{figures['ours_s']:12.3f}{figures['speedup']:10.2f}",
    ]
    if figures["naive_peak_mb"] is not None:
        naive, ours = figures["naive_peak_mb"], figures["ours_peak_mb"]
        lines.append(f"{'peak MiB':12}{naive:12.0f}{ours:12.0f}{naive / max(ours, 1e-9):10.2f}")
    return "\n".join([*lines, *(f"{name}: {figures[name]:.2g}" for name in DIFFERENCES if figures[name] is not None)])


def headline(args: Namespace) -> str:
    """Say in a line what is measured."""
    mode = f" {args.mode}" if args.case in ("text", "alignment", "loss") else ""
    options = f", without and with {' '.join(args.options)}" if args.case == "step" else ""
    return f"{args.case}{mode}: {args.config_file}, K = {args.classes}, B = {args.batch}, size {args.size}{options}"


def parse_args(arguments: Sequence[str]) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc benchmark", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=(*CASES, "kernels", "folding"))
    parser.add_argument("--config-file", default=get_config_file("ade20k/icpc_R50.yaml"))
    parser.add_argument("--classes", type=int, default=0, metavar="K", help="other than the config's")
    parser.add_argument("--batch", type=int, default=0, metavar="B", help="images; default 1, for training 4")
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels, a multiple of 32")
    parser.add_argument(
        "--mode", choices=("training", "inference"), default="training", help="with backward or without"
    )
    parser.add_argument("--against", choices=("denseclip",), help="another method in place of the paper's form")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--as-device", choices=("cpu", "cuda"), default="cuda", help="of kernels: whose strips and forms to count"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--count", action="store_true", help="count multiply-adds instead, backward pass included")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    parser.add_argument("--peak-of", choices=("naive", "ours"), help=SUPPRESS)
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="changes of the config")
    args = parser.parse_intermixed_args(arguments)
    if args.against and args.case not in ("inference", "train"):
        parser.error("--against compares whole models: it is for inference and train")
    if args.count and args.case not in ("text", "alignment"):
        parser.error("--count is for text and alignment; whole models are counted by icpc flops")
    if args.case == "step" and not args.options:
        parser.error("step compares the config with and without options: give it some, as KEY VALUE")
    if args.size % 32 or args.size <= 0:
        parser.error(f"--size is {args.size}; wanted is a multiple of 32")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU")
    if args.count:
        args.device = "meta"
    args.batch = args.batch or (4 if args.case in ("train", "kernels") else 1)
    return args


def report_kernels(args: Namespace) -> int:
    """Count the operators of a config, and say so."""
    counts = count_kernels(load_case_config(args), args)
    print(f"{headline(args)}, as on {args.as_device}\n\n{format_counts(counts)}")
    if args.json:
        args.json.write_text(json.dumps(counts, indent=2) + "\n")
    return 0


def report_folding(args: Namespace) -> int:
    """Time the forms of the laterals, a line for each, and say what the choice costs."""
    rows = []
    for row in time_forms(args):
        rows.append(row)
        print(f"{len(rows)}: {row.level}, K = {row.classes}, {row.chosen}: {row.regret:.2f} of the fastest", flush=True)
    print(f"\n{args.device}, size {args.size}, median of {args.repeats}\n\n{format_times(rows)}")
    if args.json:
        args.json.write_text(json.dumps([row._asdict() | {"regret": row.regret} for row in rows], indent=2) + "\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 1 where the two forms differ by more than the tolerance."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    args = parse_args(arguments)
    if args.case == "kernels":
        return report_kernels(args)
    if args.case == "folding":
        return report_folding(args)
    case = build_case(args)
    if args.peak_of:
        print(peak_growth(getattr(case, args.peak_of), args.device))
        return 0
    print(headline(args))
    if args.count:
        print(count(case))
        return 0
    figures = measure(case, args.repeats)
    for form in ("naive", "ours"):
        figures[f"{form}_peak_mb"] = None if args.no_memory else measure_peak(arguments, form)
    print(format_figures(args, case.titles, figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    problems = differences(args.case, figures)
    for problem in problems:
        print(f"The two forms differ: {problem}", file=sys.stderr)
    return 1 if problems else 0
