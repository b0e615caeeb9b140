"""Images and label maps, read as they really are on people's disks.

Detectron2's own mapper reads labels as 8-bit grey: palette PNGs become luminance and 16-bit ids are clipped to 255.
"""

from collections.abc import Mapping

import numpy as np
from detectron2.data import detection_utils
from detectron2.utils.file_io import PathManager
from numpy.typing import DTypeLike
from PIL import Image


class BadFileError(ValueError):
    """A file of a data set that cannot be used; the message names the file, what was found and what was wanted."""


def read_image(file_name: str, image_format: str = "RGB") -> np.ndarray:
    """Read an image of any kind (grey, palette, alpha, CMYK, 16-bit), upright by EXIF, as (H, W, 3) uint8 RGB or BGR.

    Raises:
        BadFileError: a missing, unreadable or truncated file.
    """
    image = _read(file_name, image_format)
    return image if image.ndim == 3 else np.repeat(shift_to_8_bit(image)[:, :, None], 3, axis=2)


def shift_to_8_bit(grey: np.ndarray) -> np.ndarray:
    """Scale 16-bit grey values (H, W) to uint8. PIL would clip them to 255, that is, to white."""
    return (grey >> 8).clip(0, 255).astype(np.uint8)


def read_label(
    file_name: str, dtype: DTypeLike | None = np.int64, colors: Mapping[tuple[int, int, int], int] | None = None
) -> np.ndarray:
    """Read a label map (H, W): ids as stored, of 8-bit grey, palette (the indices, not their colours) and 16-bit files.

    It also serves as ``sem_seg_loading_fn`` of Detectron2's ``SemSegEvaluator``.

    Args:
        dtype: must be able to hold the ids; None: as they are stored.
        colors: (r, g, b) -> id, for files that have colours instead of ids.

    Raises:
        BadFileError: a missing, unreadable or truncated file, or one that has colours that `colors` does not.
    """
    label = _read(file_name, None)
    if colors and label.ndim == 3 and label.shape[2] in (3, 4):
        label = _ids_of_colors(file_name, label[:, :, :3], colors)
    if label.ndim != 2 or label.dtype.kind not in "biu":
        raise BadFileError(
            f"{file_name}: found a label map of shape {label.shape} and type {label.dtype}, wanted (H, W) class "
            "ids. Convert colours to ids, or use a folder data set whose classes.txt gives the colour of each class."
        )
    return label if dtype is None else label.astype(dtype)


def _ids_of_colors(file_name: str, label: np.ndarray, colors: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    """Look up the ids of colours: (H, W, 3) uint8 -> (H, W) int64."""
    keys, ids = np.array(sorted((r << 16 | g << 8 | b, index) for (r, g, b), index in colors.items())).T
    pixels = label.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    place = np.searchsorted(keys, pixels).clip(max=len(keys) - 1)
    unknown = np.unique(pixels[keys[place] != pixels])
    if len(unknown):
        found = ", ".join(f"({key >> 16} {key >> 8 & 255} {key & 255})" for key in unknown[:5].tolist())
        raise BadFileError(
            f"{file_name}: found the colours (r g b) {found}{' and more' * (len(unknown) > 5)}, wanted those of the "
            f"{len(colors)} in the class list. A line 'ignore | r g b' there names the colour of ignored pixels."
        )
    return ids[place]


def _read(file_name: str, image_format: str | None) -> np.ndarray:
    """Read a file as RGB or BGR, or as it is stored: where `image_format` is None, and grey of more than 8 bits."""
    try:
        with PathManager.open(file_name, "rb") as file, Image.open(file) as image:  # reads the header alone
            if image.format == "EPS":
                raise ValueError("PostScript, for which Pillow would start another program")
            as_stored = image.mode.startswith("I")
        return detection_utils.read_image(file_name, format=None if as_stored else image_format)
    except Exception as error:  # damaged bytes make PIL raise nearly anything, mostly without the file's name
        raise BadFileError(f"{file_name}: wanted a readable image, found: {error or type(error).__name__}") from error
