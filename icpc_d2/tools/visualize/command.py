"""Figures of trained models, as PNG, SVG or PDF by the ending of --out.

    icpc visualize overlay   output/quickstart --out overlay.png
    icpc visualize regions   ICPC=output/quickstart --classes sky,tree --out regions.png
    icpc visualize tsne      static=output/denseclip conditioned=output/icpc --out tsne.pdf
    icpc visualize curves    DenseCLIP=output/denseclip ICPC=output/icpc --out curves.svg
    icpc visualize confusion output/quickstart --out confusion.pdf
    icpc visualize prompts   output/quickstart --out prompts.svg

A model is the output folder of a training, or a checkpoint with its config inside of it or as `config.yaml` beside it;
`TITLE=` before it names it in the figure. `curves` reads `metrics.json` alone; of a folder of runs it draws the mean.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from icpc_d2.tools.visualize import figures
from icpc_d2.visualization.figure import check_path


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc visualize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="figure", required=True)

    overlay = _add(commands, "overlay", figures.overlay_figure, "what a model predicts, over its images", several=False)
    _add_pictures(overlay, 3)

    regions = _add(commands, "regions", figures.regions_figure, "score maps A, class by class (Figure 6)")
    _add_pictures(regions, 3)
    _add_classes(regions, 5)
    regions.add_argument(
        "--level",
        default="",
        help="res5, res4, res3 or res2: stride 32, 16, 8, 4; default: the one that the losses supervise",
    )

    tsne = _add(commands, "tsne", figures.tsne_figure, "t-SNE of image and text embeddings (Figure 3)")
    _add_pictures(tsne, 24)
    _add_classes(tsne, 15)
    tsne.add_argument("--points", type=int, default=1500, help="image positions of all pictures together (%(default)s)")
    tsne.add_argument("--refined", action="store_true", help="text after the context decoder, Eq. 4, not before it")
    tsne.add_argument("--seed", type=int, default=0)

    curves = _add(commands, "curves", figures.curves_figure, "a metric over the iterations of trainings (Figure 5)")
    curves.add_argument("--metric", default="mIoU", help="a name in results.json (%(default)s)")

    confusion = _add(commands, "confusion", figures.confusion_figure, "confusion matrix, IoU by class", several=False)
    confusion.add_argument("--dataset", metavar="NAME", help="default: the one that the model is tested on")
    confusion.add_argument("--num-classes", type=int, default=30, help="at most, those with most pixels (%(default)s)")

    prompts = _add(commands, "prompts", figures.prompts_figure, "words nearest to the learned contexts", several=False)
    prompts.add_argument("--num-words", type=int, default=5, help="of each vector (%(default)s)")
    return parser.parse_args(arguments)


def _add(
    commands: argparse._SubParsersAction,
    name: str,
    draw: Callable[[argparse.Namespace], None],
    description: str,
    several: bool = True,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=description, description=description)
    command.add_argument("models", nargs="+" if several else 1, metavar="[TITLE=]MODEL")
    command.add_argument("--out", required=True, type=_path, metavar="FILE", help="its ending is .png, .svg or .pdf")
    command.set_defaults(draw=draw)
    return command


def _path(text: str) -> str:
    try:
        return str(check_path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_pictures(command: argparse.ArgumentParser, number: int) -> None:
    command.add_argument("--dataset", metavar="NAME", help="default: the one that the first model is tested on")
    command.add_argument("--num-images", type=int, default=number, help="spread over the data set (%(default)s)")
    command.add_argument("--images", nargs="+", metavar="FILE", help="pictures of your own instead")


def _add_classes(command: argparse.ArgumentParser, number: int) -> None:
    command.add_argument("--classes", metavar="NAME,NAME", help="default: those with most labelled pixels")
    command.add_argument("--num-classes", type=int, default=number, help="without --classes, at most (%(default)s)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 1 where the figure cannot be drawn."""
    args = parse_args(arguments)
    try:
        args.draw(args)
    except (OSError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Drawn: {args.out}")
    return 0
