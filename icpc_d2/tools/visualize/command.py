"""Figures of trained models, as PNG, SVG or PDF by the ending of --out.

    icpc visualize overlay   output/quickstart --out overlay.png
    icpc visualize regions   ICPC=output/quickstart --classes sky,tree --out regions.png
    icpc visualize tsne      static=output/denseclip conditioned=output/icpc --out tsne.pdf
    icpc visualize curves    DenseCLIP=output/denseclip ICPC=output/icpc --out curves.svg
    icpc visualize confusion output/quickstart --out confusion.pdf
    icpc visualize prompts   output/quickstart --out prompts.svg
    icpc visualize scenes    --out scenes.png

A model is the output folder of a training, or a checkpoint with its config inside of it or as `config.yaml` beside it;
`TITLE=` before it names it in the figure. `curves` reads `metrics.json` alone; of a folder of runs it draws the mean.
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence

from icpc_d2.tools.visualize import figures
from icpc_d2.visualization.figure import check_path

Draw = Callable[[Namespace], None]


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc visualize", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="figure", required=True)

    def add(name: str, draw: Draw, text: str, models: str | int, images: int = 0, classes: int = 0) -> ArgumentParser:
        """Add a kind of figure; with a default number of images or classes also the options that choose them."""
        command = commands.add_parser(name, help=text, description=text)
        if models:
            command.add_argument("models", nargs=models, metavar="[TITLE=]MODEL")
        command.add_argument("--out", required=True, type=_path, metavar="FILE", help="ends in .png, .svg or .pdf")
        command.set_defaults(draw=draw)
        if images:
            command.add_argument("--dataset", metavar="NAME", help="default: the one that the first model is tested on")
            command.add_argument("--num-images", type=int, default=images, help="of the data set (%(default)s)")
            command.add_argument("--images", nargs="+", metavar="FILE", help="images of your own instead")
        if classes:
            command.add_argument("--classes", metavar="NAME,NAME", help="default: those with most labelled pixels")
            command.add_argument("--num-classes", type=int, default=classes, help="without --classes (%(default)s)")
        return command

    add("overlay", figures.overlay_figure, "predictions over their images", 1, images=3)
    regions = add("regions", figures.regions_figure, "score maps A by class (Figure 6)", "+", images=3, classes=5)
    level_help = "res5, res4, res3 or res2: stride 32, 16, 8, 4; default: the one that the losses supervise"
    regions.add_argument("--level", default="", help=level_help)
    tsne = add("tsne", figures.tsne_figure, "t-SNE of image and text embeddings (Figure 3)", "+", images=24, classes=15)
    tsne.add_argument("--points", type=int, default=1500, help="image positions of all images together (%(default)s)")
    tsne.add_argument("--refined", action="store_true", help="text after the context decoder, Eq. 4, not before it")
    tsne.add_argument("--seed", type=int, default=0)
    curves = add("curves", figures.curves_figure, "a metric over the iterations of trainings (Figure 5)", "+")
    curves.add_argument("--metric", default="mIoU", help="a name in results.json (%(default)s)")
    confusion = add("confusion", figures.confusion_figure, "confusion matrix and IoU by class", 1)
    confusion.add_argument("--dataset", metavar="NAME", help="default: the one that the model is tested on")
    confusion.add_argument("--num-classes", type=int, default=30, help="at most, those with most pixels (%(default)s)")
    prompts = add("prompts", figures.prompts_figure, "words nearest to the learned contexts", 1)
    prompts.add_argument("--num-words", type=int, default=5, help="of each vector (%(default)s)")
    scenes = add("scenes", figures.scenes_figure, "captioned scenes in each style, without a model", 0)
    scenes.add_argument("--num-images", type=int, default=4, help="a row each (%(default)s)")
    scenes.add_argument("--seed", type=int, default=0, help="other scenes (%(default)s)")
    return parser.parse_args(arguments)


def _path(text: str) -> str:
    try:
        return str(check_path(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


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
