"""Cityscapes, 19 classes, from ``*_gtFine_labelIds.png``: ``cityscapes/{leftImg8bit,gtFine}`` -> ``*_detectron2``.

The official ids are 0..33, and 255 for licence plates (-1); 19 of them are evaluated. Nothing else is needed.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split

IMAGE, LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png"


def cityscapes_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of Cityscapes below `root`."""
    folder, classes = root / "cityscapes", read_class_list("cityscapes_19")
    convert = partial(convert_label, table=id_table(classes, {*range(34), 255} - set(classes.ids)))
    for name, count in {"train": 2975, "val": 500}.items():
        images = Files(folder / "leftImg8bit" / name, folder / "images_detectron2" / name, f"*/*{IMAGE}")
        labels = Files(folder / "gtFine" / name, folder / "annotations_detectron2" / name, f"*/*{LABEL}", convert)
        yield Split(name, images, labels, len(classes), count)


CITYSCAPES = Preparation(
    name="Cityscapes (19 classes)",
    folder="cityscapes",
    page="https://www.cityscapes-dataset.com/downloads/ (after registration)",
    archive="leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (0.2 GB)",
    splits=cityscapes_splits,
    archives=(
        Archive("leftImg8bit_trainvaltest.zip", "cityscapes", ("leftImg8bit",), (IMAGE,)),
        Archive("gtFine_trainvaltest.zip", "cityscapes", ("gtFine",), (LABEL,)),
    ),
    mistaken={"gtCoarse*": "Cityscapes' coarse labels", "gtFine_foggy*": "Foggy Cityscapes"},
)
