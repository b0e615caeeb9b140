"""Any picture that somebody has in hand, as the model takes it."""

import os
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.data import transforms as T
from PIL import Image, ImageOps
from torch import Tensor

from icpc_d2.data.reading import read_image, shift_to_8_bit

Picture = str | os.PathLike | Image.Image | np.ndarray


class Sample(NamedTuple):
    """A picture and what the model gets of it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        tensor: (3, h, w) uint8, resized, channels in the model's order.
        seconds: that reading and resizing took.
    """

    image: np.ndarray
    tensor: Tensor
    seconds: float

    def inputs(self) -> dict[str, Any]:
        """As Detectron2's models take it."""
        height, width = self.image.shape[:2]
        return {"image": self.tensor, "height": height, "width": width}


class PictureReader:
    """Reads pictures and resizes them as evaluation does, without any randomness."""

    def __init__(self, image_format: str, short_side: int, max_long_side: int) -> None:
        """
        Args:
            image_format: "RGB" or "BGR", what the model takes.
            short_side: pixels to resize it to; 0: as it is.
            max_long_side: pixels that the long side may have afterwards.
        """
        self.image_format = image_format
        self.short_side = short_side
        self.max_long_side = max_long_side

    def __call__(self, picture: Picture) -> Sample:
        """Read one picture.

        Args:
            picture: a path, a PIL image of any mode, or an array (H, W, 3) or (H, W) of uint8, RGB or grey.

        Raises:
            BadFileError: a file that is no readable picture.
            ValueError: an array of another shape or type.
        """
        start = time.perf_counter()
        image = to_rgb(picture)
        resized = image if self.image_format == "RGB" else image[:, :, ::-1]
        height, width = image.shape[:2]
        if self.short_side:
            size = T.ResizeShortestEdge.get_output_shape(height, width, self.short_side, self.max_long_side)
            # A very thin picture would be left without a pixel.
            size = [max(1, side) for side in size]
            resized = T.ResizeTransform(height, width, *size).apply_image(resized)
        tensor = torch.from_numpy(np.array(resized.transpose(2, 0, 1), order="C"))
        return Sample(image, tensor, time.perf_counter() - start)


def to_rgb(picture: Picture) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8, RGB; errors as of :class:`PictureReader`."""
    if isinstance(picture, str | os.PathLike):
        return read_image(os.fspath(picture))
    if isinstance(picture, Image.Image):
        upright = ImageOps.exif_transpose(picture)
        if not upright.mode.startswith("I"):
            return np.array(upright.convert("RGB"))
        picture = shift_to_8_bit(np.asarray(upright))
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"found a picture of type {type(picture).__name__}, wanted a path, a PIL image or an array.")
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(
            f"found a picture of shape {picture.shape} and type {picture.dtype}, wanted (H, W, 3) of uint8, RGB; "
            "values between 0 and 1 are brought there by (255 * picture).round().astype('uint8')."
        )
    return picture
