"""Segment pictures, folders, videos and what a camera sees with a trained model.

    icpc predict --weights output/quickstart/model_final.pth --input photos --output seen
    icpc predict --weights W --input "photos/**/*.jpg" film.mp4 --output seen --kind overlay,json
    icpc predict --weights W --input 0 --output seen               # the first camera; Ctrl-C ends
    icpc predict --weights W --input a.jpg --output seen --classes "sky, a red car, everything else"

A picture gives NAME_overlay.png, NAME_color.png, NAME_label.png (class ids), NAME_side-by-side.png and NAME.json
(class, share, boxes), as asked for by --kind. A video gives videos of the same frame rate (overlay and color of the
same size too) with a legend beside them, a folder NAME_label/ and one JSON of all frames. A file that cannot be used
does not stop the others; all of these are named at the end, and the exit status is then 1.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from icpc_d2.inference.image_reader import to_rgb
from icpc_d2.inference.prediction import ALPHA, KINDS, Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.predict.segment_video import segment_video
from icpc_d2.tools.predict.sources import Source, find_sources

Item = TypeVar("Item")
# What a file can do wrong: unreadable, not writable, too large for the memory of a GPU.
FAILURES = (OSError, ValueError, RuntimeError)


class Demo:
    """Runs a predictor over sources and writes what was asked for.

    Attributes:
        failures: source -> what went wrong.
    """

    def __init__(self, predictor: Predictor, args: argparse.Namespace) -> None:
        """
        Args:
            args: of the command line.
        """
        self.predictor = predictor
        self.args = args
        self.output = Path(args.output)
        self.failures: dict[str, str] = {}

    def run(self, sources: Sequence[Source]) -> None:
        """Pictures first, in batches; then each video."""
        pictures = [source for source in sources if source.kind == "picture"]
        with tqdm(total=len(pictures), unit="picture", disable=not pictures) as progress:
            for batch in batches(pictures, self.args.batch_size):
                self._run_pictures(batch)
                progress.update(len(batch))
        for source in sources:
            if source.kind != "picture":
                try:
                    segment_video(self.predict, source, self.output, self.args)
                except (*FAILURES, ImportError) as error:
                    self.failures[source.place] = str(error)

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        """Predict pictures as the command line says."""
        return self.predictor(images, classes=self.args.classes, predict_from=self.args.predict_from)

    def _run_pictures(self, batch: Sequence[Source]) -> None:
        images: dict[Source, np.ndarray] = {}
        for source in batch:
            try:
                images[source] = to_rgb(source.place)
            except FAILURES as error:
                self.failures[source.place] = str(error)
        try:
            predictions = self.predict(list(images.values()))
            for source, prediction in zip(images, predictions, strict=True):
                self._save(source, prediction)
        except FAILURES as error:
            if len(images) == 1:
                self.failures[next(iter(images)).place] = str(error)
            else:
                # Which one it was shows when each is alone.
                for source in images:
                    self._run_pictures([source])

    def _save(self, source: Source, prediction: Prediction) -> None:
        for kind in self.args.kind:
            middle = "" if kind == "json" else f"_{kind}"
            prediction.save(self.output / f"{source.name}{middle}{KINDS[kind]}", kind, self.args.alpha)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one of what is left."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def kinds(text: str) -> list[str]:
    """Read ``--kind``.

    Raises:
        argparse.ArgumentTypeError: an unknown one.
    """
    found = [kind.strip() for kind in text.split(",")]
    unknown = [kind for kind in found if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"found {', '.join(unknown)}; wanted some of {','.join(KINDS)}")
    return found


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="a checkpoint, with config.yaml beside it as training has it")
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="picture, folder, glob, video, or a camera's index"
    )
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--kind", type=kinds, default=["overlay"], help=f"some of {','.join(KINDS)}; overlay")
    parser.add_argument("--classes", metavar='"A, B, C"', help="other class names, predicted from the alignment A")
    parser.add_argument("--predict-from", choices=("decoder", "alignment"), help="as the model's config says")
    parser.add_argument("--alpha", type=float, default=ALPHA, help="strength of the overlay, 0 to 1; %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="pictures read at once; %(default)s")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="of a video, at most; 0: all")
    parser.add_argument("--device", help="cpu, cuda, mps; a GPU if there is one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse_args(arguments)
    try:
        demo = Demo(Predictor(args.weights, args.device), args)
        # Whatever is wrong with the model or the class names is wrong for every picture.
        demo.predict([np.zeros((32, 32, 3), np.uint8)])[0].overlay(args.alpha)
    except (FileNotFoundError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    if args.classes or args.predict_from == "alignment":
        print("From the alignment A: the decoder's head is bound to the classes that it was trained for.")
    sources, missing = find_sources(args.input)
    demo.failures.update(missing)
    demo.run(sources)
    total = len(sources) + len(missing)
    print(f"{total - len(demo.failures)} of {total} done, in {args.output}")
    for place, reason in demo.failures.items():
        print(f"failed: {place}: {reason.removeprefix(f'{place}: ')}", file=sys.stderr)
    return 1 if demo.failures else 0
