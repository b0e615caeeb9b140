"""COCO-Stuff, 171 classes, on the pictures of COCO 2017: ``cocostuff164k/annotations`` -> ``annotations_detectron2``.

The official PNGs hold COCO's id - 1 (0..181, eleven of which never occur) and 255. The pictures stay.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_folder

OFFICIAL_COUNTS = {"train2017": 118287, "val2017": 5000}


def splits(root: Path) -> list[Split]:
    """List the splits of COCO-Stuff below `root`."""
    folder, classes = root / "cocostuff164k", read_class_list("coco_stuff_171")
    png_classes = replace(classes, ids=[number - 1 for number in classes.ids])
    convert = partial(convert_label, table=id_table(png_classes, [255], 255))
    return [
        Split(
            name=name,
            sources=(folder / "images" / name, folder / "annotations" / name),
            tasks=tasks_of_folder(
                folder / "annotations" / name, folder / "annotations_detectron2" / name, ".png", convert
            ),
            images=folder / "images" / name,
            labels=folder / "annotations_detectron2" / name,
            num_classes=len(classes),
            official_count=count,
        )
        for name, count in OFFICIAL_COUNTS.items()
    ]


COCO_STUFF_164K = Preparation(
    name="COCO-Stuff 164k (171 classes)",
    folder="cocostuff164k",
    page="https://github.com/nightrome/cocostuff",
    archive="train2017.zip (18 GB), val2017.zip (1 GB) and stuffthingmaps_trainval2017.zip (0.7 GB)",
    splits=splits,
    archives=(
        Archive("train2017.zip", "cocostuff164k/images", ("train2017",)),
        Archive("val2017.zip", "cocostuff164k/images", ("val2017",)),
        Archive("stuffthingmaps_trainval2017.zip", "cocostuff164k/annotations", ("train2017", "val2017")),
    ),
    mistaken={
        "cocostuff-10k*": "COCO-Stuff10k (python -m icpc_d2.tools.prepare coco_stuff_10k)",
        "stuff_trainval2017*": "COCO's stuff labels without the things",
    },
)

if __name__ == "__main__":
    sys.exit(main(COCO_STUFF_164K))
