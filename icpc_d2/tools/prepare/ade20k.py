"""ADE20K of 150 classes and ADE20K-Full of 847.

150 classes: ``ADEChallengeData2016/annotations`` -> ``annotations_detectron2``. The official ids are 0 for "other
objects" and 1..150; Detectron2 wants 0..149 and 255. The images stay.

847 classes: ``ADE20K_2021_17_01/images`` -> ``images_detectron2`` and ``annotations_detectron2``. The class of a pixel
of ``*_seg.png`` is R // 10 * 256 + G, the place of its name in the official index counted from 1; 0 is unlabelled, and
ids of other classes than the 847 are ignored. Images and label maps are reduced to a short side of 512.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from icpc_d2.data.class_list import ClassList, read_class_list
from icpc_d2.data.reading import BadFileError, read_image
from icpc_d2.files import unpickle_arrays
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, reduce_image
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split

FULL_COUNTS = {"training": 25574, "validation": 2000}
SHORT_SIDE = 512
LABEL = "_seg.png"
LARGEST_ID = 255 // 10 * 256 + 255
# Split of the 150 classes -> (names of the files, their number).
OFFICIAL = {"training": ("ADE_train_{:08d}", 20210), "validation": ("ADE_val_{:08d}", 2000)}


def ade20k_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of ADE20K below `root`."""
    folder, classes = root / "ADEChallengeData2016", read_class_list("ade20k_150")
    convert = partial(convert_label, table=id_table(classes, [0]))
    for name, (stem, count) in OFFICIAL.items():
        images = Files(folder / "images" / name, folder / "images" / name)
        labels = Files(folder / "annotations" / name, folder / "annotations_detectron2" / name, "*.png", convert)
        stems = [stem.format(number) for number in range(1, count + 1)]
        yield Split(name, images, labels, len(classes), count, stems)


ADE20K = Preparation(
    name="ADE20K (150 classes)",
    folder="ADEChallengeData2016",
    page="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    archive="ADEChallengeData2016.zip (0.9 GB; not the full ADE20K)",
    splits=ade20k_splits,
    archives=(Archive("ADEChallengeData2016*.zip", "ADEChallengeData2016", ("images", "annotations")),),
    mistaken={
        "ADE20K_20*": "the full ADE20K (for 847 classes: icpc prepare ade20k_full)",
        "release_test*": "ADE20K's test set, which has no labels",
    },
)


def decode(file: Path) -> np.ndarray:
    """Read ``*_seg.png``: (H, W) int64, the official ids.

    Raises:
        BadFileError: an unreadable file, or one that is no such image.
    """
    red, green, _ = np.moveaxis(read_image(str(file)), 2, 0).astype(np.int64)
    if (red % 10).any():
        raise BadFileError(f"{file}: found red values that are no multiples of 10, wanted ADE20K's *{LABEL}.")
    return red // 10 * 256 + green


def read_index(file: Path) -> dict[str, Any]:
    """Read ``index_ade20k.pkl``, a pickle, of which arrays and plain data alone are read.

    Returns:
        Its dict; "folder" and "filename" have an entry for each image, "objectnames" the names of the ids from 1 on.

    Raises:
        ValueError: the file is damaged, is another one, or holds more than data.
    """
    try:
        index = unpickle_arrays(io.BytesIO(file.read_bytes()))
        missing = {"folder", "filename", "objectnames"} - index.keys()
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{file}: wanted ADE20K's index, found a pickle that is refused: {error}") from error
    if missing:
        raise ValueError(f"{file}: wanted ADE20K's index, found one without {', '.join(sorted(missing))}.")
    return index


def ade20k_full_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of ADE20K-Full below `root`.

    Raises:
        ValueError: the index is damaged, or of another release.
    """
    folder, classes = root / "ADE20K_2021_17_01", read_class_list("ade20k_full_847")
    stems = _official_stems(folder / "index_ade20k.pkl", classes)
    table = id_table(classes, set(range(LARGEST_ID + 1)) - set(classes.ids))
    reduce = partial(reduce_image, short_side=SHORT_SIDE)
    convert = partial(convert_label, table=table, read=decode, short_side=SHORT_SIDE)
    for name, count in FULL_COUNTS.items():
        source = folder / "images/ADE" / name
        images = Files(source, folder / "images_detectron2" / name, "*/*/ADE_*.jpg", reduce)
        labels = Files(source, folder / "annotations_detectron2" / name, f"*/*/ADE_*{LABEL}", convert, ".tif")
        yield Split(name, images, labels, len(classes), count, stems.get(name, ()))


def _official_stems(file: Path, classes: ClassList) -> dict[str, set[str]]:
    """Return split -> stems by the official index; nothing without it, since it only helps to name what is missing."""
    if not file.is_file():
        return {}
    index = read_index(file)
    names = index["objectnames"]
    for name, number in zip(classes.prompt_names, classes.ids, strict=True):
        synonyms = str(names[number - 1]) if number <= len(names) else ""
        if name not in [synonym.strip() for synonym in synonyms.split(",")]:
            raise ValueError(
                f"{file}: found {synonyms!r} as number {number}, wanted {name!r}: it is of another release."
            )
    stems: dict[str, set[str]] = {split: set() for split in FULL_COUNTS}
    for image in index["filename"]:
        stems["validation" if "_val_" in image else "training"].add(Path(image).stem)
    return stems


ADE20K_FULL = Preparation(
    name="ADE20K-Full (847 classes)",
    folder="ADE20K_2021_17_01",
    page="https://ade20k.csail.mit.edu/request_data/ (after registration)",
    archive="ADE20K_2021_17_01.zip (several GB; not ADEChallengeData2016)",
    splits=ade20k_full_splits,
    archives=(
        Archive("ADE20K_2021_17_01*.zip", "ADE20K_2021_17_01", ("images", "index_ade20k.pkl"), (".jpg", LABEL, ".pkl")),
    ),
    mistaken={
        "ADEChallengeData2016*": "ADE20K with 150 classes (icpc prepare ade20k)",
        "ADE20K_2016_07_26*": "the release of 2016, whose ids are others",
    },
)
