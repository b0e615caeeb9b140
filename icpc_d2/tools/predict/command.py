"""Segment images, folders, videos and what a camera sees with a trained model.

    icpc predict --weights output/quickstart/model_final.pth --input photos --output seen
    icpc predict --weights W --input "photos/**/*.jpg" film.mp4 --output seen --kind overlay,json
    icpc predict --weights W --input 0 --output seen               # the first camera; Ctrl-C ends
    icpc predict --weights W --input a.jpg --output seen --classes "sky, a red car, everything else"
    icpc predict --weights W --input a.jpg --output seen --classes "sky; boat, ship, vessel; everything else"

An image gives NAME_overlay.png, NAME_color.png, NAME_label.png (class ids), NAME_side-by-side.png and NAME.json
(class, share, boxes), as asked for by --kind. A video gives videos of the same frame rate (overlay and color of the
same size too) with a legend beside them, a folder NAME_label/ and one JSON of all frames. A file that cannot be used
does not stop the others; all of these are named at the end, and the exit status is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icpc_d2.data.class_list import read_class_list
from icpc_d2.inference.image_reader import to_rgb
from icpc_d2.inference.prediction import ALPHA, KINDS, Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.predict.segment_video import segment_video
from icpc_d2.tools.predict.sources import Source, find_sources

# What a file can do wrong: unreadable, not writable, too large for the memory of a GPU.
FAILURES = (OSError, ValueError, RuntimeError)


class SourcePredictor:
    """Runs a predictor over sources and writes the files that the command line asks for.

    Attributes:
        failures: source -> what went wrong.
    """

    def __init__(self, predictor: Predictor, args: argparse.Namespace) -> None:
        self.predictor, self.args, self.output = predictor, args, Path(args.output)
        self.failures: dict[str, str] = {}

    def run(self, sources: Sequence[Source]) -> None:
        """Segment the images, in batches, and then each video."""
        images = [source for source in sources if source.kind == "image"]
        with tqdm(total=len(images), unit="image", disable=not images) as progress:
            for start in range(0, len(images), self.args.batch_size):
                batch = images[start : start + self.args.batch_size]
                self._run_images(batch)
                progress.update(len(batch))
        for source in sources:
            if source.kind != "image":
                try:
                    segment_video(self.predict, source, self.output, self.args)
                except (*FAILURES, ImportError) as error:
                    self.failures[source.place] = str(error)

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        """Predict images as the command line says."""
        return self.predictor(images, classes=self.args.classes, predict_from=self.args.predict_from)

    def _run_images(self, batch: Sequence[Source]) -> None:
        images: dict[Source, np.ndarray] = {}
        for source in batch:
            try:
                images[source] = to_rgb(source.place)
            except FAILURES as error:
                self.failures[source.place] = str(error)
        try:
            predictions = self.predict(list(images.values()))
            for source, prediction in zip(images, predictions, strict=True):
                for kind in self.args.kind:
                    middle = "" if kind == "json" else f"_{kind}"
                    prediction.save(self.output / f"{source.name}{middle}{KINDS[kind]}", kind, self.args.alpha)
        except FAILURES as error:
            if len(images) == 1:
                self.failures[next(iter(images)).place] = str(error)
            else:
                # Which one it was shows when each is alone.
                for source in images:
                    self._run_images([source])


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="a checkpoint, with config.yaml beside it as training has it")
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="image, folder, glob, video, or a camera's index"
    )
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--kind", type=_kinds, default=["overlay"], help=f"some of {','.join(KINDS)}; overlay")
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        "--classes", metavar='"A, B" or "A; B1, B2"', help="other class names, predicted from the alignment A"
    )
    words.add_argument("--classes-file", type=Path, metavar="FILE", help="the same, a class in each line")
    parser.add_argument("--predict-from", choices=("decoder", "alignment"), help="as the model's config says")
    parser.add_argument(
        "--tta", action="store_true", default=None, help="see each image at the config's TEST.AUG.SCALES, and mirrored"
    )
    parser.add_argument("--alpha", type=float, default=ALPHA, help="strength of the overlay, 0 to 1; %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="images read at once; %(default)s")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="of a video, at most; 0: all")
    parser.add_argument("--device", help="cpu, cuda, mps; a GPU if there is one")
    return parser.parse_args(arguments)


def _kinds(text: str) -> list[str]:
    found = [kind.strip() for kind in text.split(",")]
    unknown = [kind for kind in found if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"found {', '.join(unknown)}; wanted some of {','.join(KINDS)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse_args(arguments)
    try:
        if args.classes_file:
            args.classes = read_class_list(args.classes_file).prompt_names
        predictor = SourcePredictor(Predictor(args.weights, args.device, args.tta), args)
        # Whatever is wrong with the model or the class names is wrong for every image.
        predictor.predict([np.zeros((32, 32, 3), np.uint8)])[0].overlay(args.alpha)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.classes or args.predict_from == "alignment":
        print("From the alignment A: the decoder's head is bound to the classes that it was trained for.")
    sources, missing = find_sources(args.input)
    predictor.failures.update(missing)
    predictor.run(sources)
    total = len(sources) + len(missing)
    print(f"{total - len(predictor.failures)} of {total} done, in {args.output}")
    for place, reason in predictor.failures.items():
        print(f"failed: {place}: {reason.removeprefix(f'{place}: ')}", file=sys.stderr)
    return 1 if predictor.failures else 0
