"""A predictor at work on the inputs of a command line: files for each of them, and failures by their reasons."""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icpc_d2.inference.exported_predictor import ExportedPredictor
from icpc_d2.inference.image_reader import to_rgb
from icpc_d2.inference.prediction import KINDS, Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.predict.manifest import Manifest
from icpc_d2.tools.predict.pipeline import FAILURES, segment_images
from icpc_d2.tools.predict.remote import local_copy
from icpc_d2.tools.predict.segment_video import segment_video
from icpc_d2.tools.predict.sources import Source


class SourcePredictor:
    """Runs a predictor over sources and writes the files that the command line asks for.

    Attributes:
        failures: source -> what went wrong.
        done: number of sources whose results were written.
        seconds: that images took.
    """

    def __init__(self, predictor: Predictor | ExportedPredictor, args: argparse.Namespace) -> None:
        self.predictor, self.args, self.output = predictor, args, Path(args.output)
        self.failures: dict[str, str] = {}
        self.done, self.seconds = 0, 0.0

    def run(self, sources: Sequence[Source], manifest: Manifest | None = None) -> None:
        """Segment the images, and then each video; record each in the manifest."""
        images = [source for source in sources if source.kind == "image"]
        start = time.perf_counter()
        results = segment_images(images, self.read, self.predict, self.write, self.args.batch_size)
        with closing(results), tqdm(total=len(images), unit="image", disable=not images) as progress:
            for source, failure in results:
                self._note(source, failure, manifest)
                progress.update()
        self.seconds = time.perf_counter() - start
        for source in sources:
            if source.kind != "image":
                self._note(source, self._run_video(source), manifest)

    def read(self, source: Source) -> np.ndarray:
        """Read an image from its path or its address, (H, W, 3) uint8, RGB, by the values of the model's training."""
        with local_copy(source.place) as path:
            return to_rgb(path, self.predictor.value_range)

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        """Predict images as the command line says."""
        return self.predictor(images, classes=self.args.classes, predict_from=self.args.predict_from)

    def files(self, source: Source) -> dict[str, Path]:
        """Return the files of an image, by kind."""
        middles = {kind: "" if kind == "json" else f"_{kind}" for kind in self.args.kind}
        return {kind: self.output / f"{source.name}{middle}{KINDS[kind]}" for kind, middle in middles.items()}

    def write(self, source: Source, prediction: Prediction) -> None:
        """Write the files of an image."""
        for kind, path in self.files(source).items():
            prediction.save(path, kind, self.args.alpha)

    def is_done(self, source: Source, manifest: Manifest) -> bool:
        """Tell whether an earlier run has recorded an input as done, and its files are there still."""
        files = self.files(source).values() if source.kind == "image" else ()
        return source.kind != "camera" and manifest.is_done(source) and all(path.is_file() for path in files)

    def _run_video(self, source: Source) -> str | None:
        try:
            with local_copy(source.place) as place:
                segment_video(self.predict, source._replace(place=place), self.output, self.args)
        except (*FAILURES, ImportError) as error:
            return str(error)
        return None

    def _note(self, source: Source, failure: str | None, manifest: Manifest | None) -> None:
        if failure is None:
            self.done += 1
        else:
            self.failures[source.place] = failure
        if manifest is not None:
            manifest.add(source, failure)
