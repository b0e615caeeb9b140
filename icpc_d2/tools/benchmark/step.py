"""Time a training step with and without some options of the config, on random weights and images.

python -m icpc_d2.tools.benchmark.step --batch 4 --device cuda MODEL.CHANNELS_LAST True SOLVER.AMP.ENABLED True
python -m icpc_d2.tools.benchmark.step MODEL.COMPILE '["backbone","neck"]'

Steps with and without them run in turns, and medians are compared. What the first step of each costs (compiling) is
not counted. No other program should run meanwhile.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from detectron2.utils.events import EventStorage

from icpc_d2.analysis.random_models import build_random, load_config, random_batch
from icpc_d2.analysis.timing import alternate
from icpc_d2.config import get_config_file
from icpc_d2.engine.parallel import prepare
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.engine.train_step import build_step


def make_step(args: argparse.Namespace, options: Iterable[str]) -> Callable[[], None]:
    """A step of the training by ``args.config_file`` and `options`, always of the same images."""
    cfg = load_config(args.config_file, options, args.classes, args.device)
    model = prepare(cfg, build_random(cfg))
    batches = itertools.repeat(random_batch(len(cfg.MODEL.CLASS_NAMES), args.batch, args.size))
    step = build_step(cfg, model, batches, build_optimizer(cfg, model))

    def run() -> None:
        with EventStorage() as step.storage:
            step.iter = 0
            step.run_step()

    return run


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m icpc_d2.tools.benchmark.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default=get_config_file("ade20k/icpc_R50.yaml"))
    parser.add_argument("--classes", type=int, default=150, metavar="K")
    parser.add_argument("--batch", type=int, default=1, metavar="B", help="images of each forward pass")
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels, a multiple of 32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("options", nargs="+", metavar="KEY VALUE", help="changes of the config")
    args = parser.parse_intermixed_args(arguments)
    if args.size % 32 or args.size <= 0:
        parser.error(f"--size is {args.size}; wanted is a multiple of 32")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = parse_args(sys.argv[1:] if arguments is None else arguments)
    without, with_options = alternate(make_step(args, []), make_step(args, args.options), args.repeats)
    threads = f", {torch.get_num_threads()} thread(s)" if args.device == "cpu" else ""
    print(f"{args.config_file}, K = {args.classes}, B = {args.batch}, size {args.size}, {args.device}{threads}")
    print(f"a step without: {without:.3f} s, with {' '.join(args.options)}: {with_options:.3f} s", end="")
    print(f", ratio {without / with_options:.2f}, median of {args.repeats}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
