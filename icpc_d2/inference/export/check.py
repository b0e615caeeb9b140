"""Whether an exported file gives what the model gives: both run on pictures, and compared."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from icpc_d2.data.scenes.dataset import draw_scene

# Of the validation scenes, the ones that are shown to both.
PICTURES = (27, 31)


class ExportError(RuntimeError):
    """An exported file that does not give what the model gives; it is not kept."""


class Bounds(NamedTuple):
    """How far a file may be from the model."""

    difference: float  # largest of the logits, as a share of their standard deviation
    equal: float  # share of the pixels that must have the same label, at least


# So many pixels of a small picture may lie where two classes are as good as equal.
TIES = 3
# Half precision has 11 bits, which a network of a hundred layers rounds to again and again.
BOUNDS = {"float32": Bounds(1e-3, 0.9999), "float16": Bounds(0.5, 0.98)}


class FileComparison(NamedTuple):
    """A file beside the model, on one picture."""

    size: tuple[int, int]  # height, width
    difference: float  # largest of the logits, as a share of their standard deviation; of label maps 0
    equal: float  # share of the pixels with the same label
    seconds: tuple[float, float]  # that the file and PyTorch took

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"{height} x {width}: logits differ by {self.difference:.1e} of their spread, "
            f"{self.equal:.3%} of the labels are equal; {self.seconds[0]:.2f} s, PyTorch {self.seconds[1]:.2f} s"
        )


def draw_pictures(sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Draw a picture (1, 3, H, W) uint8, RGB, for each (H, W)."""
    pictures = []
    for index, (height, width) in enumerate(sizes):
        scene = Image.fromarray(draw_scene((1, PICTURES[index % len(PICTURES)]))[0])
        pixels = np.asarray(scene.resize((width, height), Image.Resampling.BICUBIC))
        pictures.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    return pictures


@torch.no_grad()
def compare_with_model(
    run: Callable[[np.ndarray], Sequence[np.ndarray]], graph: nn.Module, sizes: Sequence[tuple[int, int]]
) -> list[FileComparison]:
    """Run a file and the model, in single precision, on a picture of each size.

    Args:
        run: the file: a picture (1, 3, H, W) uint8 -> its outputs.
        graph: the model, with the same outputs.
    """
    comparisons = []
    for picture, size in zip(draw_pictures(sizes), sizes, strict=True):
        start = time.perf_counter()
        found = run(picture)
        middle = time.perf_counter()
        wanted = [output.numpy() for output in graph(torch.from_numpy(picture))]
        seconds = (middle - start, time.perf_counter() - middle)
        if [output.shape for output in found] != [output.shape for output in wanted]:
            raise ExportError(f"found outputs of shapes {[o.shape for o in found]}, wanted {[o.shape for o in wanted]}")
        comparisons.append(FileComparison(size, _difference(found, wanted), _equal(found[0], wanted[0]), seconds))
    return comparisons


def check(comparisons: Sequence[FileComparison], precision: str) -> None:
    """Accept a file by its comparisons.

    Args:
        precision: a key of :data:`BOUNDS`.

    Raises:
        ExportError: it is further from the model than that allows.
    """
    bounds = BOUNDS[precision]
    for comparison in comparisons:
        differing = (1 - comparison.equal) * comparison.size[0] * comparison.size[1]
        is_alike = comparison.equal >= bounds.equal or round(differing) <= TIES
        # In this form, NaN does not pass either.
        if not (comparison.difference <= bounds.difference and is_alike):
            raise ExportError(
                f"the file does not give what the model gives, and was not kept. {comparison}. Wanted are at most "
                f"{bounds.difference:g} of the spread and at least {bounds.equal:.2%} of the labels, in {precision}."
            )


def _difference(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    spreads = [
        np.abs(a - b).max() / max(b.std(), 1e-12) for a, b in zip(found, wanted, strict=True) if b.dtype == np.float32
    ]
    return float(max(spreads, default=0.0))


def _equal(found: np.ndarray, wanted: np.ndarray) -> float:
    if wanted.ndim == 4:
        found, wanted = found.argmax(axis=1), wanted.argmax(axis=1)
    return float((found == wanted).mean())
