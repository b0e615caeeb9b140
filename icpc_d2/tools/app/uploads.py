"""Image files that strangers send: faults become messages, and what is merely unusual is put right.

An image is judged by its header before any of its pixels exist, so that a small file which unpacks to gigabytes costs
nothing. Nothing of a file's name is used but a harmless part of it, for messages and for the name of the results.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from icpc_d2.data.pixels import white_of
from icpc_d2.data.reading import read_image

logger = logging.getLogger(__name__)

# Pillow knows dozens of formats, some of which start other programs; these are the ones that people have images in.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
WANTED = f"wanted is a picture: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
# Formats whose further frames are an animation or pages; those of a JPEG are previews of a camera.
FRAMED = ("PNG", "WEBP", "GIF", "TIFF")
LONGEST_NAME = 60


class UploadError(ValueError):
    """A file that is not taken; the message says what was found, what is wanted and what to do."""


@dataclass(frozen=True)
class Limits:
    """Limits of what is taken."""

    bytes: int = 20 * 2**20  # largest file
    pixels: int = 50_000_000  # largest height x width, as the file has it
    min_side: int = 16  # shortest side in pixels
    max_ratio: float = 16.0  # longest side as a multiple of the shortest
    long_side: int = 1600  # larger images are reduced to this, in pixels


class Upload(NamedTuple):
    """An image that was taken."""

    image: np.ndarray  # (H, W, 3) uint8, RGB, upright
    stem: str  # harmless name without ending
    notes: tuple[str, ...]  # what was put right, as sentences


def read_upload(path: str, name: str, limits: Limits, value_range: Sequence[float] = ()) -> Upload:
    """Read an image that was sent.

    Args:
        path: where it is on this machine.
        name: that the sender gave it; anything.
        value_range: of images of more than 8 bits, as in the model's training.

    Raises:
        UploadError: it is empty, too large, too small, too narrow, broken, or no image.
    """
    shown = Path(harmless_name(name)).name
    size = Path(path).stat().st_size
    if size == 0:
        raise UploadError(f"{shown} is empty; {WANTED}.")
    if size > limits.bytes:
        raise UploadError(
            f"{shown} has {size / 2**20:.1f} MiB; at most {limits.bytes / 2**20:.3g} are taken. Send a smaller copy."
        )
    with _refusing(shown):
        notes = _judge_header(path, shown, limits, value_range)
        image = read_image(path, value_range=value_range)
    height, width = image.shape[:2]
    if max(height, width) > limits.long_side:
        scale = limits.long_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        notes.append(f"Reduced from {width} x {height} to {size[0]} x {size[1]} pixels.")
    return Upload(image, Path(shown).stem, tuple(notes))


def _judge_header(path: str, shown: str, limits: Limits, value_range: Sequence[float]) -> list[str]:
    """Refuse what the header gives away, and return notes on what is unusual."""
    with Image.open(path, formats=FORMATS) as image:
        _judge_size(shown, *image.size, limits)
        white = white_of(image)
        if white is None and not value_range:
            kind = "floating-point pixels" if image.mode == "F" else "pixels of 32 bits"
            raise UploadError(f"{shown} has {kind}; wanted are 8 or 16 bits. Save it as PNG or JPEG.")
        notes = []
        if image.format in FRAMED and getattr(image, "is_animated", False):
            notes.append("Of several frames the first one is used.")
        if white != 255:
            used = (
                f"{value_range[0]:g} is black, {value_range[1]:g} is white" if value_range else "the upper 8 are used"
            )
            notes.append(f"Of {16 if white else 32} bits per pixel {used}.")
        if image.mode == "CMYK":
            notes.append("Converted from CMYK to RGB; colours may differ a little from print.")
        # Finds what has changed on the way, where the format has checksums; the file must be opened anew after it.
        image.verify()
        return notes


def _judge_size(shown: str, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise UploadError(
            f"{shown} has {width} x {height} = {width * height / 1e6:.0f} million pixels; at most "
            f"{limits.pixels / 1e6:.3g} million are taken. Send a smaller copy."
        )
    if min(width, height) < limits.min_side:
        raise UploadError(
            f"{shown} has {width} x {height} pixels; each side must have at least {limits.min_side}. Send a larger one."
        )
    if max(width, height) > limits.max_ratio * min(width, height):
        raise UploadError(
            f"{shown} has {width} x {height} pixels; the long side may be at most {limits.max_ratio:g} times the short "
            "one. Send a part of it."
        )


@contextmanager
def _refusing(shown: str) -> Iterator[None]:
    """Turn whatever goes wrong while a stranger's file is read into a message.

    Broken files make Pillow raise nearly every kind of exception, and its messages name files of this machine.
    """
    try:
        yield
    except UploadError:
        raise
    except UnidentifiedImageError:
        raise UploadError(f"{shown} is not a picture that can be read; {WANTED}.") from None
    except Image.DecompressionBombError:
        raise UploadError(f"{shown} unpacks to far too many pixels. Send a smaller copy.") from None
    except Exception as error:
        logger.info("Refused an upload: %r", error)
        raise UploadError(
            f"{shown} is broken or cut off, or of a kind that is not read. Open it in an image viewer and save it anew "
            "as PNG or JPEG."
        ) from error


def harmless_name(name: str) -> str:
    """Return the last part of a name, of letters, digits, blanks, dots and dashes alone, and not long; or "picture"."""
    # Windows's rules know both kinds of slashes, and drive letters.
    last = PureWindowsPath(name).name
    stem, dot, ending = (re.sub(r"[^\w .-]+", "_", part) for part in last.rpartition("."))
    if not dot:
        stem, ending = ending, ""
    stem, ending = (part.strip(" ._-") for part in (stem, ending))
    return f"{stem[:LONGEST_NAME] or 'picture'}{'.' if ending else ''}{ending[:8]}"
