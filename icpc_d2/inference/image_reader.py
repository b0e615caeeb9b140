"""An image from a file, PIL or an array, as the model takes it."""

import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from icpc_d2.data.pixels import to_8_bit_rgb
from icpc_d2.data.reading import read_image
from icpc_d2.data.resizing import ResizeShortestEdge

ImageLike = str | os.PathLike | Image.Image | np.ndarray


class ModelInput(NamedTuple):
    """An image as it is and as the model gets it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    for_model: dict[str, Any]  # with "image" (3, h, w) uint8, resized, channels in the model's order
    seconds: float  # that reading and resizing took

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the model sees."""
        return tuple(self.for_model["image"].shape[1:])


def read_input(
    source: ImageLike,
    image_format: str,
    short_side: int,
    max_long_side: int,
    method: str,
    value_range: Sequence[float] = (),
) -> ModelInput:
    """Read an image as :func:`to_rgb` does and resize it as evaluation does, without any randomness.

    Args:
        image_format: "RGB" or "BGR", of the model.
        short_side: pixels to resize it to; 0: as it is.
        max_long_side: pixels that the long side may have afterwards.
        method: one of :data:`icpc_d2.data.resizing.METHODS`.
        value_range: of images of more than 8 bits.
    """
    start = time.perf_counter()
    image = to_rgb(source, value_range)
    resized = image if image_format == "RGB" else image[:, :, ::-1]
    resized = ResizeShortestEdge(short_side, max_long_side, method).get_transform(image).apply_image(resized)
    height, width = image.shape[:2]
    tensor = torch.from_numpy(np.array(resized.transpose(2, 0, 1), order="C"))
    return ModelInput(image, {"image": tensor, "height": height, "width": width}, time.perf_counter() - start)


def to_rgb(source: ImageLike, value_range: Sequence[float] = ()) -> np.ndarray:
    """Return an image as (H, W, 3) uint8, RGB.

    Args:
        source: a path, a PIL image of any mode, or an array (H, W, 3) or (H, W) of uint8, RGB or grey.
        value_range: of files and PIL images of more than 8 bits, see :func:`icpc_d2.data.read_image`.

    Raises:
        BadFileError: a file that is no readable image.
        ValueError: an array of another shape or type, or a PIL image of which nobody says what is white.
    """
    if isinstance(source, str | os.PathLike):
        return read_image(os.fspath(source), value_range=value_range)
    if isinstance(source, Image.Image):
        return to_8_bit_rgb(source, value_range=value_range)
    if not isinstance(source, np.ndarray):
        raise ValueError(f"found an image of type {type(source).__name__}, wanted a path, a PIL image or an array.")
    if source.ndim == 2:
        source = np.repeat(source[:, :, None], 3, axis=2)
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or not source.size:
        raise ValueError(
            f"found an image of shape {source.shape} and type {source.dtype}, wanted (H, W, 3) of uint8, RGB. "
            f"{_advice(source)}"
        )
    return source


def _advice(source: np.ndarray) -> str:
    """Say how an array that is not taken becomes one that is."""
    parts = []
    if source.ndim == 4:
        parts.append("Give several images as a list.")
    elif source.ndim == 3 and source.shape[2] == 1:
        parts.append("A grey one is image[:, :, 0].")
    elif source.ndim == 3 and source.shape[2] == 4:
        parts.append("Without transparency it is image[:, :, :3].")
    elif source.ndim == 3 and source.shape[0] in (1, 3, 4):
        parts.append("Channels come last: image.transpose(1, 2, 0).")
    if source.dtype.kind == "f":
        parts.append("Values between 0 and 1 are brought there by (255 * image).round().astype('uint8').")
    elif source.dtype != np.uint8:
        parts.append(
            "Values from low to high are brought there by ((image - low) * (255 / (high - low))).clip(0, 255)"
            ".astype('uint8')."
        )
    return " ".join(parts)
