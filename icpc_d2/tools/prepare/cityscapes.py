"""Cityscapes, 19 classes, from ``*_gtFine_labelIds.png``: ``cityscapes/{leftImg8bit,gtFine}`` -> ``*_detectron2``.

The official ids are 0..33, and 255 for licence plates (-1); 19 of them are evaluated. Nothing else is needed.
"""

import sys
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_files

OFFICIAL_COUNTS = {"train": 2975, "val": 500}
IMAGE, LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png"


def splits(root: Path) -> list[Split]:
    """List the splits of Cityscapes below `root`."""
    folder, classes = root / "cityscapes", read_class_list("cityscapes_19")
    ignored = ({*range(34)} | {255}) - set(classes.ids)
    convert = partial(convert_label, table=id_table(classes, ignored, 255))
    result = []
    for name, count in OFFICIAL_COUNTS.items():
        images, labels = folder / "images_detectron2" / name, folder / "annotations_detectron2" / name
        sources = (folder / "leftImg8bit" / name, folder / "gtFine" / name)
        tasks = [
            *tasks_of_files(
                sources[0].glob(f"*/*{IMAGE}"),
                lambda f, to=images: to / f"{f.name.removesuffix(IMAGE)}.png",
                link_or_copy,
            ),
            *tasks_of_files(
                sources[1].glob(f"*/*{LABEL}"), lambda f, to=labels: to / f"{f.name.removesuffix(LABEL)}.png", convert
            ),
        ]
        result.append(Split(name, sources, tasks, images, labels, len(classes), official_count=count))
    return result


CITYSCAPES = Preparation(
    name="Cityscapes (19 classes)",
    folder="cityscapes",
    page="https://www.cityscapes-dataset.com/downloads/ (after registration)",
    archive="leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (0.2 GB)",
    splits=splits,
    archives=(
        Archive("leftImg8bit_trainvaltest.zip", "cityscapes", ("leftImg8bit",), (IMAGE,)),
        Archive("gtFine_trainvaltest.zip", "cityscapes", ("gtFine",), (LABEL,)),
    ),
    mistaken={"gtCoarse*": "Cityscapes' coarse labels", "gtFine_foggy*": "Foggy Cityscapes"},
)

if __name__ == "__main__":
    sys.exit(main(CITYSCAPES))
