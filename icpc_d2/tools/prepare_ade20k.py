"""ADE20K, 150 classes: ``ADEChallengeData2016/annotations`` -> ``annotations_detectron2``.

The official ids are 0 for "other objects" and 1..150; Detectron2 wants 0..149 and 255. The pictures stay.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

from icpc_d2.tools.preparation import Preparation, Split, main, relabel, tasks_of_folder

NUM_CLASSES, IGNORE_LABEL = 150, 255
TABLE = np.concatenate([[IGNORE_LABEL], np.arange(NUM_CLASSES)]).astype(np.uint8)
OFFICIAL_COUNTS = {"training": 20210, "validation": 2000}


def splits(root: Path) -> list[Split]:
    """List the splits of ADE20K below `root`."""
    folder = root / "ADEChallengeData2016"
    return [
        Split(
            name=name,
            sources=(folder / "annotations" / name,),
            tasks=tasks_of_folder(
                folder / "annotations" / name,
                folder / "annotations_detectron2" / name,
                ".png",
                partial(relabel, table=TABLE),
            ),
            images=folder / "images" / name,
            labels=folder / "annotations_detectron2" / name,
            official_count=count,
        )
        for name, count in OFFICIAL_COUNTS.items()
    ]


ADE20K = Preparation(
    name="ADE20K (150 classes)",
    folder="ADEChallengeData2016",
    page="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    archive="ADEChallengeData2016.zip (0.9 GB; not the full ADE20K)",
    num_classes=NUM_CLASSES,
    ignore_label=IGNORE_LABEL,
    splits=splits,
)

if __name__ == "__main__":
    sys.exit(main(ADE20K))
