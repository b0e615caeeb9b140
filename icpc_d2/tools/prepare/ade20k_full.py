"""ADE20K-Full, 847 classes: ``ADE20K_2021_17_01/images`` -> ``images_detectron2`` and ``annotations_detectron2``.

The class of a pixel of ``*_seg.png`` is R // 10 * 256 + G, the place of its name in the official index counted from 1;
0 is unlabelled, and what is none of the 847 is ignored. Pictures and label maps are reduced to a short side of 512.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

from icpc_d2.data.class_list import ClassList, ignore_label_of, read_class_list
from icpc_d2.data.reading import BadFileError, read_image
from icpc_d2.tools.prepare.ade20k_index import read_index
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, reduce_image
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_files

OFFICIAL_COUNTS = {"training": 25574, "validation": 2000}
IGNORE_LABEL = ignore_label_of(847)
SHORT_SIDE = 512
LABEL = "_seg.png"
LARGEST_ID = 255 // 10 * 256 + 255


def decode(file: Path) -> np.ndarray:
    """Read ``*_seg.png``: (H, W) int64, the official ids.

    Raises:
        BadFileError: an unreadable file, or one that is no such picture.
    """
    red, green, _ = np.moveaxis(read_image(str(file)), 2, 0).astype(np.int64)
    if (red % 10).any():
        raise BadFileError(f"{file}: found red values that are no multiples of 10, wanted ADE20K's *{LABEL}.")
    return red // 10 * 256 + green


def splits(root: Path) -> list[Split]:
    """List the splits of ADE20K-Full below `root`.

    Raises:
        ValueError: the index is damaged, or of another release.
    """
    folder, classes = root / "ADE20K_2021_17_01", read_class_list("ade20k_full_847")
    stems = _official_stems(folder / "index_ade20k.pkl", classes)
    convert = partial(
        convert_label,
        table=id_table(classes, set(range(LARGEST_ID + 1)) - set(classes.ids), IGNORE_LABEL),
        read=decode,
        short_side=SHORT_SIDE,
    )
    result = []
    for name, count in OFFICIAL_COUNTS.items():
        source = folder / "images/ADE" / name
        images, labels = folder / "images_detectron2" / name, folder / "annotations_detectron2" / name
        tasks = [
            *tasks_of_files(
                source.glob("*/*/ADE_*.jpg"),
                lambda f, to=images: to / f.name,
                partial(reduce_image, short_side=SHORT_SIDE),
            ),
            *tasks_of_files(
                source.glob(f"*/*/ADE_*{LABEL}"),
                lambda f, to=labels: to / f"{f.name.removesuffix(LABEL)}.tif",
                convert,
            ),
        ]
        result.append(
            Split(name, (source,), tasks, images, labels, len(classes), IGNORE_LABEL, count, stems.get(name, ()))
        )
    return result


def _official_stems(file: Path, classes: ClassList) -> dict[str, set[str]]:
    """Split -> stems by the official index; nothing without the index, which only helps to name what is missing."""
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
    stems: dict[str, set[str]] = {split: set() for split in OFFICIAL_COUNTS}
    for picture in index["filename"]:
        split = "validation" if "_val_" in picture else "training"
        stems[split].add(Path(picture).stem)
    return stems


ADE20K_FULL = Preparation(
    name="ADE20K-Full (847 classes)",
    folder="ADE20K_2021_17_01",
    page="https://ade20k.csail.mit.edu/request_data/ (after registration)",
    archive="ADE20K_2021_17_01.zip (several GB; not ADEChallengeData2016)",
    splits=splits,
    archives=(
        Archive("ADE20K_2021_17_01*.zip", "ADE20K_2021_17_01", ("images", "index_ade20k.pkl"), (".jpg", LABEL, ".pkl")),
    ),
    mistaken={
        "ADEChallengeData2016*": "ADE20K with 150 classes (python -m icpc_d2.tools.prepare ade20k)",
        "ADE20K_2016_07_26*": "the release of 2016, whose ids are others",
    },
)

if __name__ == "__main__":
    sys.exit(main(ADE20K_FULL))
