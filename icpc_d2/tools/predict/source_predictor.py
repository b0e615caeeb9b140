"""A predictor at work on the inputs of a command line: the files of each of them, or why there are none."""

import argparse
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from icpc_d2.inference.exported_predictor import ExportedPredictor
from icpc_d2.inference.prediction import KINDS, Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.predict.pipeline import FAILURES, ReadImage, segment_images
from icpc_d2.tools.predict.remote import local_copy
from icpc_d2.tools.predict.segment_video import segment_video, video_files
from icpc_d2.tools.predict.sources import Source


class SourcePredictor:
    """Runs a predictor over sources and writes the files that the command line asks for."""

    def __init__(self, predictor: Predictor | ExportedPredictor, args: argparse.Namespace) -> None:
        self.predictor, self.args = predictor, args
        if isinstance(predictor, Predictor):  # exported files take one image at a time
            predictor.batch_size = args.batch_size

    def check(self) -> None:
        """Predict an image of zeros: what is wrong with the model or the class names is wrong for every image.

        Raises:
            ValueError: there is something wrong.
        """
        self.predict([np.zeros((32, 32, 3), np.uint8)])[0].overlay(self.args.alpha)

    def results(self, sources: Sequence[Source]) -> Generator[tuple[Source, str | None], None, None]:
        """Segment the images, and then each video; yield each when its files are written, with what went wrong."""
        images = [source for source in sources if source.kind == "image"]
        yield from segment_images(images, self.read, self.predict, self.write, self.args.batch_size)
        for source in sources:
            if source.kind != "image":
                yield source, self._run_video(source)

    def read(self, source: Source) -> ReadImage:
        """Read an image from its path or its address and resize it, as the predictor wants it."""
        with local_copy(source.place) as path:
            return self.predictor.read(path)

    def predict(self, images: list[np.ndarray] | list[ReadImage]) -> list[Prediction]:
        """Predict images as the command line says."""
        return self.predictor(images, classes=self.args.classes, predict_from=self.args.predict_from)

    def write(self, source: Source, prediction: Prediction) -> None:
        """Write the files of an image."""
        for kind, path in files_of(source, self.args).items():
            prediction.save(path, kind, self.args.alpha)

    def _run_video(self, source: Source) -> str | None:
        try:
            with local_copy(source.place) as place:
                segment_video(self.predict, source._replace(place=place), Path(self.args.output), self.args)
        except (*FAILURES, ImportError) as error:
            return str(error)
        return None


def files_of(source: Source, args: argparse.Namespace) -> dict[str, Path]:
    """Return the files of an input, by kind; of a video's label maps, their folder."""
    if source.kind != "image":
        return video_files(source.name, Path(args.output), args.kind)
    middles = {kind: "" if kind == "json" else f"_{kind}" for kind in args.kind}
    return {kind: Path(args.output) / f"{source.name}{middle}{KINDS[kind]}" for kind, middle in middles.items()}
