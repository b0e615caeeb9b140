"""An image from a file, PIL or an array, as the model takes it."""

import os
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from icpc_d2.data.reading import read_image, shift_to_8_bit
from icpc_d2.data.resizing import ResizeShortestEdge

ImageLike = str | os.PathLike | Image.Image | np.ndarray


class ModelInput(NamedTuple):
    """An image as it is and as the model gets it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    for_model: dict[str, Any]  # with "image" (3, h, w) uint8, resized, channels in the model's order
    seconds: float  # that reading and resizing took


def read_input(source: ImageLike, image_format: str, short_side: int, max_long_side: int, method: str) -> ModelInput:
    """Read an image as :func:`to_rgb` does and resize it as evaluation does, without any randomness.

    Args:
        image_format: "RGB" or "BGR", of the model.
        short_side: pixels to resize it to; 0: as it is.
        max_long_side: pixels that the long side may have afterwards.
        method: one of :data:`icpc_d2.data.resizing.METHODS`.
    """
    start = time.perf_counter()
    image = to_rgb(source)
    resized = image if image_format == "RGB" else image[:, :, ::-1]
    resized = ResizeShortestEdge(short_side, max_long_side, method).get_transform(image).apply_image(resized)
    height, width = image.shape[:2]
    tensor = torch.from_numpy(np.array(resized.transpose(2, 0, 1), order="C"))
    return ModelInput(image, {"image": tensor, "height": height, "width": width}, time.perf_counter() - start)


def to_rgb(source: ImageLike) -> np.ndarray:
    """Return an image as (H, W, 3) uint8, RGB.

    Args:
        source: a path, a PIL image of any mode, or an array (H, W, 3) or (H, W) of uint8, RGB or grey.

    Raises:
        BadFileError: a file that is no readable image.
        ValueError: an array of another shape or type.
    """
    if isinstance(source, str | os.PathLike):
        return read_image(os.fspath(source))
    if isinstance(source, Image.Image):
        upright = ImageOps.exif_transpose(source)
        if not upright.mode.startswith("I"):
            return np.array(upright.convert("RGB"))
        source = shift_to_8_bit(np.asarray(upright))
    if not isinstance(source, np.ndarray):
        raise ValueError(f"found an image of type {type(source).__name__}, wanted a path, a PIL image or an array.")
    if source.ndim == 2:
        source = np.repeat(source[:, :, None], 3, axis=2)
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or not source.size:
        raise ValueError(
            f"found an image of shape {source.shape} and type {source.dtype}, wanted (H, W, 3) of uint8, RGB; "
            "values between 0 and 1 are brought there by (255 * image).round().astype('uint8')."
        )
    return source
