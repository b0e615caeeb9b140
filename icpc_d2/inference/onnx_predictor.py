"""A model that ``icpc export`` wrote, run by onnxruntime. This one file needs numpy, onnxruntime and Pillow alone.

Copy it to where neither PyTorch nor Detectron2 is installed, and import or run it there; ``icpc_d2.inference`` has the
same class, too::

    from onnx_predictor import OnnxPredictor

    prediction = OnnxPredictor("model.onnx")("picture.jpg")  # .labels (H, W), .overlay(), .summary(), .save("a.png")

    python onnx_predictor.py model.onnx picture.jpg overlay.png

What it repeats of the package, tests hold against the package.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

# What files say of themselves; a file of another form is refused.
FORMAT = "1"
# Regions that are smaller than this share of the image are counted alone.
SMALLEST_REGION = 0.0005
# Classes that are brought to full size at once.
CLASSES_AT_ONCE = 8


class OnnxWindow(NamedTuple):
    """A part of an image as the model sees it, perhaps all of it, and what the file gives for it, by output name."""

    rows: slice
    columns: slice
    outputs: dict[str, np.ndarray]  # "logits" and "alignment" (K, h, w) float32, or "labels" (h, w)


@dataclass(eq=False, repr=False)
class OnnxPrediction:
    """The label map of an image of H x W pixels."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    labels: np.ndarray  # (H, W) int64, indices into `classes`
    classes: list[str]
    colors: np.ndarray  # (K, 3) uint8, RGB
    predict_from: str  # "decoder" or "alignment"
    seconds: dict[str, float]  # of each stage, by its name

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """Tint the image with the colours of its classes, and draw borders in full colour, (H, W, 3) uint8, RGB.

        Args:
            alpha: 0 is the image alone, 1 the colours alone.
        """
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; wanted is a number in [0, 1].")
        painted, borders = self.color(), np.zeros(self.labels.shape, bool)
        for axis, size in enumerate(self.labels.shape):
            differ = np.diff(self.labels, axis=axis) != 0
            borders |= np.insert(differ, size - 1, False, axis=axis) | np.insert(differ, 0, False, axis=axis)
        mixed = np.round(alpha * painted.astype(np.float32) + (1 - alpha) * self.image).astype(np.uint8)
        return np.where(borders[..., None], painted, mixed) if alpha else mixed

    def color(self) -> np.ndarray:
        """Paint the label map in the colours of the classes, (H, W, 3) uint8, RGB."""
        return self.colors[self.labels]

    def summary(self) -> dict[str, Any]:
        """List the classes by falling area, each with its share and the boxes of its connected regions.

        Lengths are in pixels, boxes [left, top, width, height]; pixels that touch by a corner are connected.
        """
        height, width = self.labels.shape
        counts, found = np.bincount(self.labels.ravel(), minlength=len(self.classes)), _regions(self.labels)
        classes = []
        for index in (int(index) for index in np.argsort(-counts, kind="stable") if counts[index]):
            regions = found[found[:, 0] == index, 1:]
            large = regions[regions[:, 4] >= SMALLEST_REGION * self.labels.size]
            classes.append(
                {
                    "class": self.classes[index],
                    "id": index,
                    "share": round(float(counts[index] / self.labels.size), 6),
                    "regions": [{"box": region[:4].tolist(), "area": int(region[4])} for region in large],
                    "small_regions": len(regions) - len(large),
                }
            )
        return {"width": width, "height": height, "predict_from": self.predict_from, "classes": classes}

    def save(self, path: str | Path, kind: str = "overlay") -> None:
        """Write "overlay", "color", "label" (a PNG of class ids) or "json" (:meth:`summary`), whole or not at all."""
        path = Path(path)
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            if kind == "json":
                temporary.write_text(json.dumps(self.summary(), indent=1) + "\n", encoding="utf-8")
            elif kind == "label" and path.suffix.lower() == ".png":
                ids = self.labels.astype(np.uint8 if len(self.classes) <= 256 else np.uint16)
                Image.fromarray(ids).save(temporary)
            elif kind in ("overlay", "color"):
                # Drawings take far longer to compress than to draw, for little.
                options = {"compress_level": 1} if path.suffix.lower() == ".png" else {}
                Image.fromarray(self.overlay() if kind == "overlay" else self.color()).save(temporary, **options)
            else:
                raise ValueError(f"found {kind!r} for {path.name}; wanted is overlay, color, label (.png) or json.")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class OnnxPredictor:
    """Segments images as `icpc_d2.Predictor` does with the checkpoint that the file was exported from.

    Attributes:
        classes: names.
        colors: (K, 3) uint8, RGB.
        metadata: all that the file says of itself, by key.
        size: height and width of the images that the graph takes; None: any.
        value_range: of images of more than 8 bits, as in training; empty: by their type.
        outputs: names of what the graph gives: "logits" or "labels", and perhaps "alignment".
        providers: of onnxruntime that are used, of those asked for.
    """

    def __init__(
        self, path: str | os.PathLike, providers: Sequence[str] = ("CPUExecutionProvider",), threads: int = 0
    ) -> None:
        """
        Args:
            path: an ``.onnx`` file; weights that lie beside it as ``.onnx.data`` are found by themselves.
            providers: of onnxruntime, the best first.
            threads: of the CPU; 0: all.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read, or is not of ``icpc export``.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no file '{path}'.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=list(providers))
        except Exception as error:  # onnxruntime's own kinds, which share no base but this one
            raise ValueError(f"{path}: wanted a model that onnxruntime can read, found: {error}") from error
        found = self._session.get_modelmeta().custom_metadata_map
        if found.get("icpc.format") != FORMAT:
            raise ValueError(
                f"{path}: found the form {found.get('icpc.format')!r} of the metadata, wanted {FORMAT!r}: a file that "
                "this release's `icpc export` wrote."
            )
        self.metadata = {key.removeprefix("icpc."): value for key, value in found.items() if key.startswith("icpc.")}
        self.classes: list[str] = json.loads(self.metadata["classes"])
        self.colors = np.array(json.loads(self.metadata["colors"]), np.uint8)
        self.predict_from = self.metadata["predict_from"]
        self._rule = json.loads(self.metadata["preprocessing"])
        self.value_range = tuple(self._rule["value_range"])
        sides = self._session.get_inputs()[0].shape[2:]
        self.size = tuple(sides) if all(isinstance(side, int) for side in sides) else None
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.providers = self._session.get_providers()

    def __call__(self, image: Any) -> OnnxPrediction | list[OnnxPrediction]:
        """Predict an image, or each of a list of them: a path, a PIL image or an array (H, W, 3) of uint8, RGB."""
        if isinstance(image, list | tuple):
            return [self(one) for one in image]
        start = time.perf_counter()
        image = read_rgb(image, self.value_range)
        prepared, places = self.prepare(image)
        read = time.perf_counter()
        windows = self.run(prepared, places)
        predicted = time.perf_counter()
        labels = self._labels(windows, prepared.shape[:2], image.shape[:2])
        seconds = {"read": read - start, "model": predicted - read, "labels": time.perf_counter() - predicted}
        return OnnxPrediction(image, labels, self.classes, self.colors, self.predict_from, seconds)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, list[tuple[slice, slice]]]:
        """Resize an image (H, W, 3) by the model's rule to (h, w, 3); return it and the rows and columns of windows."""
        rule, window = self._rule, self._rule["window"]
        size = _rule_size(image.shape[:2], rule["short_side"], rule["max_long_side"])
        side, stride = window or (max(size), max(size))
        places = [
            (slice(top, top + min(side, size[0])), slice(left, left + min(side, size[1])))
            for top in _starts(size[0], side, stride)
            for left in _starts(size[1], side, stride)
        ]
        seen = tuple(place.stop - place.start for place in places[0])
        if self.size not in (None, seen):
            warnings.warn(
                f"the file takes images of {self.size[0]} x {self.size[1]} alone, where the model's rule gives "
                f"{seen[0]} x {seen[1]}: such images are stretched, and the result is not quite the model's. "
                "`icpc export --dynamic` writes a file for all sizes.",
                stacklevel=3,
            )
            size, places = self.size, [(slice(0, self.size[0]), slice(0, self.size[1]))]
        if size != image.shape[:2] and rule["resize"] == "opencv":
            # Between four pixels, however far an image is shrunk; OpenCV's own numbers differ by a grey level at most.
            pixels = _interpolate(_interpolate(image.astype(np.float32), size[0], 0), size[1], 1)
            image = (pixels + 0.5).astype(np.uint8)
        elif size != image.shape[:2]:
            image = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
        return image, places

    def run(self, image: np.ndarray, places: Sequence[tuple[slice, slice]]) -> list[OnnxWindow]:
        """Run the graph on windows of a prepared image (h, w, 3), one after another."""
        windows = []
        for rows, columns in places:
            part = np.ascontiguousarray(image[rows, columns].transpose(2, 0, 1)[None])
            outputs = self._session.run(None, {"image": part})
            named = {name: output[0] for name, output in zip(self.outputs, outputs, strict=True)}
            windows.append(OnnxWindow(rows, columns, named))
        return windows

    def _labels(self, windows: Sequence[OnnxWindow], size: tuple[int, int], output_size: tuple[int, int]) -> np.ndarray:
        """Return the class of the highest logit at each pixel, (height, width) int64, logits of windows averaged."""
        if "labels" in self.outputs:
            if len(windows) > 1:
                raise ValueError(
                    f"the image takes {len(windows)} windows, whose label maps cannot be averaged: export without "
                    "--labels, so that the file gives logits."
                )
            rows, columns = (_nearest(source, target) for source, target in zip(size, output_size, strict=True))
            return windows[0].outputs["labels"][rows[:, None], columns].astype(np.int64)
        counts = np.zeros(size, np.float32)
        for window in windows:
            counts[window.rows, window.columns] += 1
        labels, best = np.zeros(output_size, np.int64), np.full(output_size, -np.inf, np.float32)
        for first in range(0, len(self.classes), CLASSES_AT_ONCE):
            total = np.zeros((min(CLASSES_AT_ONCE, len(self.classes) - first), *size), np.float32)
            for window in windows:
                total[:, window.rows, window.columns] += window.outputs["logits"][first : first + CLASSES_AT_ONCE]
            logits = _interpolate(_interpolate(total / counts, output_size[0], 1), output_size[1], 2)
            higher = logits.max(axis=0) > best
            labels = np.where(higher, first + logits.argmax(axis=0), labels)
            best = np.maximum(best, logits.max(axis=0))
        return labels


def read_rgb(source: Any, value_range: Sequence[float] = ()) -> np.ndarray:
    """Return an image, from a path, PIL or an array (H, W, 3) or (H, W) of uint8, upright as (H, W, 3) uint8, RGB.

    Args:
        value_range: of files and PIL images of more than 8 bits; empty: of unsigned 16-bit ones their type's.
    """
    if isinstance(source, str | os.PathLike):
        try:
            with Image.open(source) as image:
                if image.format == "EPS":
                    raise ValueError("PostScript, for which Pillow would start another program")
                if value_range and len(image.getbands()) > 1 and ";16" in str(image.tile):
                    raise ValueError("colours of 16 bits, which Pillow cuts to 8: save it with 8 bits")
                image.load()
                return read_rgb(image, value_range)
        except Exception as error:  # damaged bytes make Pillow raise nearly anything
            raise ValueError(f"{source}: wanted a readable image, found: {error or type(error).__name__}") from error
    if isinstance(source, Image.Image):
        upright = ImageOps.exif_transpose(source)
        if source.mode != "F" and not source.mode.startswith("I"):
            return np.array(upright.convert("RGB"))
        source = _to_8_bit(np.asarray(upright), source, value_range)
    image = np.asarray(source)
    image = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"found an image of shape {image.shape} and type {image.dtype}, wanted (H, W, 3) of uint8.")
    return image


def _to_8_bit(pixels: np.ndarray, image: Image.Image, value_range: Sequence[float]) -> np.ndarray:
    """Bring values of more than 8 bits to uint8: by their range, or for unsigned 16-bit files by their type."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("found pixels that are no numbers (NaN or infinity), wanted numbers alone.")
    if value_range:
        low, high = value_range
        return ((pixels.astype(np.float64) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(
            f"found an image of type {pixels.dtype}, wanted one of 8 bits: of this type nothing says white."
        )
    bits = min(16, *np.atleast_1d(getattr(image, "tag_v2", {}).get(258, 16)).tolist())  # TIFF's BitsPerSample
    return (pixels >> (bits - 8)).clip(0, 255).astype(np.uint8)


def _rule_size(size: tuple[int, int], short_side: int, max_long_side: int) -> tuple[int, int]:
    """Return height and width with the short side brought to a length, as Detectron2's `ResizeShortestEdge`."""
    if not short_side:
        return size
    scale = short_side / min(size)
    sides = [short_side if side == min(size) else scale * side for side in size]
    if max(sides) > max_long_side:
        sides = [side * (max_long_side / max(sides)) for side in sides]
    return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Return the first pixel of each window along a side; the last window ends at the border."""
    steps = max(0, -(-(length - window) // stride))
    return [min(step * stride, max(0, length - window)) for step in range(steps + 1)]


def _nearest(source: int, target: int) -> np.ndarray:
    return ((np.arange(target) + 0.5) * source / target).astype(np.int64)


def _interpolate(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Resize an axis linearly, pixels being areas (PyTorch's ``align_corners=False``)."""
    length = x.shape[axis]
    if length == size:
        return x
    place = np.maximum((np.arange(size, dtype=np.float32) + 0.5) * np.float32(length / size) - 0.5, 0)
    low = place.astype(np.int64)
    weight = (place - low).reshape([-1 if index == axis else 1 for index in range(x.ndim)])
    return x.take(low, axis) * (1 - weight) + x.take(np.minimum(low + 1, length - 1), axis) * weight


def _regions(labels: np.ndarray) -> np.ndarray:
    """Return the connected regions of a label map (H, W): rows of label, left, top, width, height, area.

    The largest come first. Pixels of a line that are alike are a run; runs of neighbouring lines that touch are joined.
    """
    height, width = labels.shape
    new = np.ones(labels.shape, bool)
    new[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run_of = np.cumsum(new.ravel()).reshape(labels.shape) - 1
    top, left = np.nonzero(new)
    length = np.diff(np.append(np.flatnonzero(new), labels.size))
    label, right = labels[top, left], left + length
    upper = np.flatnonzero(top < height - 1)
    first = run_of[top[upper] + 1, np.maximum(left[upper] - 1, 0)]
    count = run_of[top[upper] + 1, np.minimum(right[upper], width - 1)] - first + 1
    above = np.repeat(upper, count)
    below = np.arange(len(above)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    alike = label[above] == label[below]
    above, below = above[alike], below[alike]
    root = np.arange(len(label))
    while (root[above] != root[below]).any():
        lower = np.minimum(root[above], root[below])
        for other in (root[above], root[below]):
            np.minimum.at(root, other, lower)
        while (root != root[root]).any():
            root = root[root]
    roots, region = np.unique(root, return_inverse=True)
    box = np.array([[width], [height], [0], [0]]).repeat(len(roots), axis=1)
    for row, function, values in ((0, np.minimum, left), (1, np.minimum, top), (2, np.maximum, right)):
        function.at(box[row], region, values)
    np.maximum.at(box[3], region, top + 1)
    area = np.bincount(region, weights=length).astype(np.int64)
    found = np.stack([label[roots], box[0], box[1], box[2] - box[0], box[3] - box[1], area], axis=1)
    return found[np.lexsort((box[0], box[1], -area))]


def main(arguments: Sequence[str]) -> None:
    """Segment one image: model, image, and the overlay to write; print the summary."""
    if len(arguments) != 3:
        sys.exit("usage: python onnx_predictor.py MODEL.onnx IMAGE OVERLAY.png")
    prediction = OnnxPredictor(arguments[0])(arguments[1])
    prediction.save(arguments[2])
    sys.stdout.write(json.dumps(prediction.summary(), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
