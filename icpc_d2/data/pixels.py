"""Pixels of more than 8 bits: what white is, is known of few kinds; of the others somebody must say it."""

import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from detectron2.utils.logger import log_first_n
from PIL import Image, ImageOps

BITS_PER_SAMPLE = 258  # the tag of TIFF
FORMATS_OF_16_BITS = ("PNG", "PPM")  # which Pillow reads into 32 bits
EMPTY_BITS = 2  # of the upper ones, from which on a file looks as if it held fewer


def warn_thrice(message: str) -> None:
    """Log a warning, in each process the first three times: what is wrong with a file is mostly so with all."""
    log_first_n(logging.WARNING, message, n=3, name=__name__)


def to_8_bit_rgb(
    image: Image.Image,
    name: str = "an image",
    value_range: Sequence[float] = (),
    warn: Callable[[str], None] = warn_thrice,
) -> np.ndarray:
    """Convert an image of any kind to (H, W, 3) uint8 RGB, upright.

    The values of 16-bit files, unsigned, reach from 0 to 65535 (of 12-bit TIFFs to 4095). Those of 32-bit integers and
    floating-point files reach anywhere: they are refused unless `value_range` is given, which also goes before the type
    of the former. A 16-bit file whose upper bits are empty is warned of.

    Args:
        name: of the image, for messages.
        value_range: values that become 0 and 255; those outside of it are clipped. 8-bit images stay as they are.
        warn: is called with each warning.

    Raises:
        ValueError: values whose range nobody has said, or that are no numbers.
    """
    white = white_of(image)
    if white == 255:
        deep = has_deep_colors(image)
        rgb = np.array(upright(image).convert("RGB"))
        if deep and not value_range:
            _warn_of_empty_bits(name, int(rgb.max()) << 8, 65535, warn)
        return rgb
    pixels = np.asarray(upright(image))
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("found pixels that are no numbers (NaN or infinity)")
    lowest, highest = pixels.min(), pixels.max()
    if not value_range and white is None:
        raise ValueError(
            f"found an image of the type {pixels.dtype} with values from {lowest:g} to {highest:g}, of which nothing "
            "says which is white: give both ends as INPUT.VALUE_RANGE '[0, 4095]' (icpc check: --value-range), or save "
            "it with 8 or 16 bits"
        )
    if value_range:
        grey = scale_to_8_bit(pixels, value_range)
    else:
        _warn_of_empty_bits(name, int(highest), white, warn)
        grey = (pixels >> (white.bit_length() - 8)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def is_value_range(ends: Sequence[Any]) -> bool:
    """Tell whether these are the values of black and of white: two finite numbers, in this order."""
    are_numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    return len(ends) == 2 and are_numbers and -math.inf < ends[0] < ends[1] < math.inf


def scale_to_8_bit(pixels: np.ndarray, value_range: Sequence[float]) -> np.ndarray:
    """Scale values of any type, of which the range becomes 0..255, to uint8."""
    low, high = value_range
    return ((pixels.astype(np.float64) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)


def has_deep_colors(image: Image.Image) -> bool:
    """Tell whether a file that was just opened has colours of 16 bits, of which Pillow gives the upper 8."""
    return image.mode in ("RGB", "RGBA", "LA") and ";16" in _raw_mode(image)


def read_deep_colors(file_name: str, value_range: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """Read colours of 16 bits by OpenCV, (H, W, 3) uint8 RGB of this shape.

    Raises:
        ValueError: OpenCV reads something else.
    """
    pixels = cv2.imread(file_name, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None or pixels.shape != tuple(shape) or pixels.dtype != np.uint16:
        raise ValueError("colours of 16 bits that OpenCV cannot read: save it with 8 bits, or as a plain PNG")
    return scale_to_8_bit(pixels[:, :, ::-1], value_range)


def why_changed(image: Image.Image) -> str:
    """Return why Pillow gives other grey values than a file that was just opened holds; "" where they are the same.

    That is right for images, and wrong for class ids.
    """
    raw = _raw_mode(image)
    tile = image.tile[0] if getattr(image, "tile", None) else ("", (), 0, "")
    if tile[0].startswith("ppm") and isinstance(tile[3], tuple) and tile[3][1] not in (255, 65535):
        return f"a white of {tile[3][1]}, to which its values are relative"
    if re.search(r";\d*I", raw):
        return "a white of 0, so that its values count downwards"
    return f"{raw[2]} bits per pixel, whose values may be ids or shades" if re.match("L;[24]", raw) else ""


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says; one whose EXIF is damaged stays as it is."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of the EXIF: the pixels are there
        return image


def white_of(image: Image.Image) -> int | None:
    """Return the value of white: 255, 65535, or fewer bits as a TIFF states them; None: unknown."""
    raw = _raw_mode(image)
    if image.mode == "I" and (image.format not in FORMATS_OF_16_BITS or "S" in raw):
        return None
    if image.mode == "F":
        return None
    if not image.mode.startswith("I"):
        return 255
    stated = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return (1 << min(16, *np.atleast_1d(stated).tolist())) - 1


def _raw_mode(image: Image.Image) -> str:
    """Return how the pixels lie in a file that was just opened, as Pillow writes it: "RGB;16B"."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _warn_of_empty_bits(name: str, highest: int, white: int, warn: Callable[[str], None]) -> None:
    if 0 < highest <= white >> EMPTY_BITS:
        warn(
            f"{name}: found no value above {highest} where white is {white}: the upper bits are empty, and the image "
            f"is dark. If {highest} is near white, say so: INPUT.VALUE_RANGE '[0, {(1 << highest.bit_length()) - 1}]'."
        )
