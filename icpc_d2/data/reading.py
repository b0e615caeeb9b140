"""Images and label maps, read as they really are on people's disks.

Detectron2's own mapper reads labels as 8-bit grey: palette PNGs become luminance and 16-bit ids are clipped to 255.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from detectron2.utils.file_io import PathManager
from numpy.typing import DTypeLike
from PIL import Image

from icpc_d2.data.label_code import LabelCode, advice_on_ids
from icpc_d2.data.pixels import has_deep_colors, read_deep_colors, to_8_bit_rgb, upright, warn_thrice, why_changed

logger = logging.getLogger(__name__)

LOSSY = ("JPEG", "MPO")  # formats that change values
GREY_MODES = ("L", "LA", "1", "I")


class BadFileError(ValueError):
    """A file of a data set that cannot be used; the message names the file, what was found and what was wanted."""


def read_image(
    file_name: str,
    image_format: str = "RGB",
    value_range: Sequence[float] = (),
    warn: Callable[[str], None] = warn_thrice,
) -> np.ndarray:
    """Read an image of any kind (grey, palette, alpha, CMYK, 16-bit), upright by EXIF, as (H, W, 3) uint8 RGB or BGR.

    Args:
        value_range: the values of images of more than 8 bits that become 0 and 255; empty: those of their type, see
            :func:`icpc_d2.data.pixels.to_8_bit_rgb`.
        warn: is called with a warning of an image that seems to have fewer bits than its file.

    Raises:
        BadFileError: a missing, unreadable or truncated file, or values of which nobody says what white is.
    """
    with _opened(file_name) as image:
        deep = has_deep_colors(image)
        rgb = to_8_bit_rgb(image, file_name, value_range, warn)
        if deep and value_range:
            rgb = read_deep_colors(file_name, value_range, rgb.shape)
    return rgb if image_format == "RGB" else rgb[:, :, ::-1]


def read_label(file_name: str, dtype: DTypeLike | None = np.int64, code: LabelCode | None = None) -> np.ndarray:
    """Read a label map (H, W): the class ids that its values, its palette or its colours mean.

    It also serves as ``sem_seg_loading_fn`` of Detectron2's ``SemSegEvaluator``.

    Args:
        dtype: must be able to hold the ids; None: any.
        code: what values and colours mean; None: values are class ids, also below a palette.

    Raises:
        BadFileError: a missing, unreadable or truncated file, or one whose content means no classes.
    """
    with _opened(file_name) as image:
        label = _decode(image, code or LabelCode())
    return label if dtype is None else label.astype(dtype)


def check_ids(file_name: str, label: np.ndarray, num_classes: int, ignore_label: int) -> None:
    """Check that a label map of this file holds classes 0..`num_classes` - 1 (0: any) and the ignore label alone.

    Raises:
        BadFileError: it holds something else; says what.
    """
    wrong = label[((label < 0) | (label >= num_classes)) & (label != ignore_label)]
    if num_classes and wrong.size:
        raise BadFileError(
            f"{file_name}: found the ids {np.unique(wrong)[:10].tolist()} in {wrong.size} pixels, wanted "
            f"0..{num_classes - 1} or {ignore_label} (ignore). Was the data set prepared?"
            f"{advice_on_ids(wrong, num_classes)}"
        )


def _decode(image: Image.Image, code: LabelCode) -> np.ndarray:
    if image.format in LOSSY:
        raise ValueError("a JPEG, which changes the values of a label map, wanted PNG or TIFF")
    if has_deep_colors(image):
        raise ValueError("colours of 16 bits, of which a class list knows none: save it with 8 bits, or as ids")
    if changed := why_changed(image):
        raise ValueError(f"a label map with {changed}: save it with 8 bits per pixel, black 0 and white 255")
    _refuse_several_frames(image)
    image = upright(image)
    if "A" in image.getbands():
        if np.asarray(image.getchannel("A")).min() < 255:
            raise ValueError(
                "pixels that are transparent, which says nothing of their class. Remove the transparency; let a colour "
                "or a value of its own be ignored."
            )
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode == "P":
        return code.of_palette(np.asarray(image), np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3))
    if image.mode == "RGB":
        return code.of_colors(np.asarray(image))
    pixels = np.asarray(image)
    if not image.mode.startswith(GREY_MODES) or pixels.ndim != 2:
        raise ValueError(f"a label map of the kind {image.mode} ({pixels.dtype}), wanted (H, W) class ids or colours")
    return code.of_values(pixels.astype(np.uint8) if image.mode == "1" else pixels, is_bit=image.mode == "1")


def _refuse_several_frames(image: Image.Image) -> None:
    """Refuse an animation or a stack; reduced copies of a map, as GeoTIFFs have them, do no harm."""
    if getattr(image, "n_frames", 1) == 1:
        return
    size = image.size
    image.seek(1)
    if image.size == size:
        raise ValueError(f"{image.n_frames} label maps in one file, wanted one")
    image.seek(0)


@contextmanager
def _opened(file_name: str) -> Iterator[Image.Image]:
    """Open a file; damaged bytes make Pillow raise nearly anything, mostly without the file's name."""
    try:
        with PathManager.open(file_name, "rb") as file, Image.open(file) as image:  # reads the header alone
            if image.format == "EPS":
                raise ValueError("PostScript, for which Pillow would start another program")
            yield image
    except Exception as error:
        text = str(error) or type(error).__name__
        found = text if text.startswith("found") else f"wanted a readable image, found: {text}"
        raise BadFileError(f"{file_name}: {found}") from error
