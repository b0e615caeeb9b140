"""The work behind the web page: an image and class names in; images, figures and files out."""

import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image

from icpc_d2.data.scenes.dataset import draw_scene
from icpc_d2.data.synonyms import split_classes
from icpc_d2.inference.exported_predictor import ExportedPredictor
from icpc_d2.inference.prediction import KINDS, Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.app.uploads import Limits, Upload, UploadError, read_upload

MOST_NAMES, LONGEST_NAME = 100, 80
# Colours of a region map, and how much of them is seen, what is left over being the image in grey.
COLOR_MAP, HEAT = "inferno", 0.7
# Validation images with many classes in them, which no model trained on `scenes` has seen.
EXAMPLES = (27, 31, 18, 42, 48, 50)
EXAMPLE_SCALE = 3


class SegmentedUpload(NamedTuple):
    """An upload and the model's prediction for it."""

    upload: Upload
    prediction: Prediction
    class_names: tuple[tuple[str, ...], ...] | None  # of each class, other ones than the model's
    seconds: dict[str, float]  # by stage


class Comparison(NamedTuple):
    """The two ways to predict, on one image."""

    decoder: Prediction
    alignment: Prediction
    agreement: float  # share of pixels with the same class


class Workbench:
    """A predictor, and limits for what it is given; safe in threads, as they are."""

    def __init__(self, predictor: Predictor | ExportedPredictor, limits: Limits) -> None:
        self.predictor = predictor
        self.limits = limits

    @property
    def device(self) -> str:
        """The name of the device that the model runs on."""
        device = self.predictor.device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"CPU ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device).upper()

    def segment(self, path: str, name: str, class_names: str = "", predict_from: str = "decoder") -> SegmentedUpload:
        """Segment an uploaded image.

        Args:
            path: where the upload is on this machine.
            name: that its sender gave it.
            class_names: other ones, see :func:`parse_class_names`; then the prediction comes from the alignment.
            predict_from: "decoder" or "alignment".

        Raises:
            UploadError: the image or the class names are refused.
        """
        names = parse_class_names(class_names)
        start = time.perf_counter()
        upload = read_upload(path, name, self.limits, self.predictor.value_range)
        read = time.perf_counter() - start
        try:
            prediction = self.predictor(upload.image, names, predict_from if names is None else None)
        except ValueError as error:  # such as a name with more tokens than the text encoder takes
            raise UploadError(str(error)) from error
        return SegmentedUpload(upload, prediction, names, prediction.seconds | {"read": read})

    def compare(self, segmented: SegmentedUpload) -> Comparison:
        """Predict from the decoder and from A.

        Raises:
            UploadError: the classes are not the model's, so that the decoder does not know them.
        """
        if segmented.class_names is not None:
            raise UploadError(
                "The decoder knows the classes of its training alone. Empty the field of class names to compare."
            )
        try:
            decoder, alignment = (
                segmented.prediction
                if segmented.prediction.predict_from == source
                else self.predictor(segmented.upload.image, predict_from=source)
                for source in ("decoder", "alignment")
            )
        except ValueError as error:  # an exported file that has no decoder
            raise UploadError(str(error)) from error
        return Comparison(decoder, alignment, float((decoder.labels == alignment.labels).mean()))


def parse_class_names(text: str) -> tuple[tuple[str, ...], ...] | None:
    """Read the names of each class, by :func:`icpc_d2.data.synonyms.split_classes` or by lines; None if there are none.

    Raises:
        UploadError: names that cannot be read, one class alone, too many names, or a very long one.
    """
    try:
        classes = tuple(dict.fromkeys(split_classes(text.replace("\n", ";" if ";" in text else ","))))
    except ValueError as error:
        raise UploadError(f"Class names: {error}") from error
    names = [name for names in classes for name in names]
    if not names:
        return None
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise UploadError(
            f"Found a class name of {len(longest)} letters; at most {LONGEST_NAME} are taken. Put commas between names."
        )
    if len(classes) == 1:
        raise UploadError(f"Found one class alone, {', '.join(names)}; every pixel would be that. Give two or more.")
    if len(names) > MOST_NAMES:
        raise UploadError(f"Found {len(names)} class names; at most {MOST_NAMES} are taken. Leave some out.")
    return classes


def shares(prediction: Prediction) -> dict[str, float]:
    """Compute the share of the pixels of every class, the largest first."""
    counts = np.bincount(prediction.labels.ravel(), minlength=len(prediction.classes)) / prediction.labels.size
    return {prediction.classes[index]: float(counts[index]) for index in np.argsort(-counts, kind="stable")}


def class_colors(*predictions: Prediction) -> dict[str, str]:
    """Return the colours of the classes that are in any of the label maps, by name, as "#rrggbb"."""
    colors = {}
    for prediction in predictions:
        found, firsts = np.unique(prediction.labels, return_index=True)
        for index, color in zip(found, prediction.color().reshape(-1, 3)[firsts], strict=True):
            colors[prediction.classes[index]] = "#{:02x}{:02x}{:02x}".format(*color)
    return colors


def region_map(prediction: Prediction, name: str) -> np.ndarray:
    """Draw the alignment A of a class over the image in grey, (H, W, 3) uint8, RGB: dark is 0, bright is 1."""
    grey = np.asarray(Image.fromarray(prediction.image).convert("L"))[..., None]
    heat = 255 * matplotlib.colormaps[COLOR_MAP](prediction.regions(name))[..., :3]
    return np.round((1 - HEAT) * grey + HEAT * heat).astype(np.uint8)


def write_zip(segmented: SegmentedUpload, folder: str | Path) -> Path:
    """Write all kinds of files of a prediction into one, named for the image, in a new folder below `folder`."""
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{segmented.upload.stem}_icpc.zip"
    with tempfile.TemporaryDirectory() as parts, zipfile.ZipFile(path, "w") as archive:
        for kind, ending in KINDS.items():
            part = Path(parts) / f"{kind}{ending}"
            segmented.prediction.save(part, kind)
            archive.write(part, part.name)
    return path


def write_examples(folder: str | Path) -> list[Path]:
    """Draw a few scenes into a folder, enlarged to the size of a small photograph."""
    paths = []
    for index in EXAMPLES:
        scene = Image.fromarray(draw_scene((1, index))[0])
        paths.append(Path(folder) / f"scene_{index:02d}.jpg")
        size = (scene.width * EXAMPLE_SCALE, scene.height * EXAMPLE_SCALE)
        scene.resize(size, Image.Resampling.LANCZOS).save(paths[-1], quality=92)
    return paths
