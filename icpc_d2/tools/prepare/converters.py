"""Conversions of one file of a download to the file that Detectron2 reads."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from icpc_d2.data.class_list import ClassList, ignore_label_of
from icpc_d2.data.reading import BadFileError, read_image, read_label

NAMED_IDS = 5


def link_or_copy(source: Path, target: Path) -> None:
    """Make the same file appear in another folder; a hard link takes no room, a copy works across disks."""
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def id_table(classes: ClassList, others: Iterable[int], others_become: int | None = None) -> np.ndarray:
    """Return a table from a data set's own ids to training ids; an id that it should not have becomes -1.

    Args:
        others: ids of no class.
        others_become: a training id; None: the ignore label.
    """
    others = list(others)
    table = np.full(max([*classes.ids, *others]) + 1, -1, np.int32)
    table[others] = ignore_label_of(len(classes)) if others_become is None else others_become
    table[classes.ids] = np.arange(len(classes))
    return table


def convert_label(
    source: Path,
    target: Path,
    *,
    table: np.ndarray,
    read: Callable[[Path], np.ndarray] | None = None,
    short_side: int = 0,
) -> None:
    """Write a label map with its ids replaced: 8-bit, or 16-bit where the table has ids above 255.

    Args:
        table: (ids in the source,), the new id of each, -1 for those that must not appear.
        read: gives (H, W) integers; default: :func:`icpc_d2.data.read_label`.
        short_side: larger label maps are reduced to it; 0: never.

    Raises:
        BadFileError: an unreadable file, or an id that the table does not have.
    """
    ids = read(source) if read else read_label(str(source))
    mapped = table[ids.clip(0, len(table) - 1)]
    wrong = np.unique(ids[(ids < 0) | (ids >= len(table)) | (mapped < 0)])
    if len(wrong):
        wanted = _ranges(np.flatnonzero(table >= 0))
        raise BadFileError(f"{source}: found the ids {wrong[:NAMED_IDS].tolist()}, wanted {wanted}.")
    image = _reduced(Image.fromarray(mapped), short_side, Image.Resampling.NEAREST)
    Image.fromarray(np.asarray(image).astype(np.uint8 if table.max() <= 255 else np.uint16)).save(target)


def reduce_image(source: Path, target: Path, short_side: int) -> None:
    """Write a JPEG of an upright RGB image whose short side is at most this; one that needs no change is linked.

    Raises:
        BadFileError: an unreadable file.
    """
    image = Image.fromarray(read_image(str(source)))
    reduced = _reduced(image, short_side, Image.Resampling.BILINEAR)
    if reduced is image:
        link_or_copy(source, target)
    else:
        reduced.save(target, quality=95)


def _reduced(image: Image.Image, short_side: int, resampling: Image.Resampling) -> Image.Image:
    if not short_side or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), resampling)


def _ranges(values: np.ndarray) -> str:
    """Write increasing numbers in short: [0, 1, 2, 5] -> "0..2, 5"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def read_mat(source: Path, field: str) -> np.ndarray:
    """Read the field of a MATLAB file, up to v7 or v7.3: (H, W) int64.

    Raises:
        BadFileError: an unreadable file, or one without such a field.
        ImportError: SciPy or h5py is missing.
    """
    try:
        import h5py
        import scipy.io
    except ImportError as error:
        raise ImportError("Labels in .mat files need SciPy and h5py: python -m pip install scipy h5py") from error
    try:
        if h5py.is_hdf5(source):
            with h5py.File(source) as file:
                return np.asarray(file[field]).T.astype(np.int64)  # MATLAB counts columns first
        return scipy.io.loadmat(source, variable_names=[field])[field].astype(np.int64)
    except Exception as error:  # both libraries raise errors of a dozen kinds for broken files
        raise BadFileError(f"{source}: wanted a .mat file with the field {field}, found: {error!r}") from error
