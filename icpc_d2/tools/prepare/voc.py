"""Pascal VOC 2012, 21 classes with background and 20 without: ``SegmentationClass`` -> ``annotations_*_detectron2``.

The official label maps are palette pictures, whose indices are the ids: 0 for background, 1..20, and 255 for void.
"""

import sys
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_files

OFFICIAL_COUNTS = {"train": 1464, "val": 1449}
# Classes -> ids that are ignored.
IGNORED = {21: [255], 20: [0, 255]}


def splits(root: Path) -> list[Split]:
    """List the splits of VOC 2012 below `root`, each for 21 and for 20 classes."""
    folder = root / "VOCdevkit/VOC2012"
    result = []
    for name, official_count in OFFICIAL_COUNTS.items():
        names = folder / "ImageSets/Segmentation" / f"{name}.txt"
        stems = names.read_text().split() if names.is_file() else []
        images = folder / "images_detectron2" / name
        pictures = tasks_of_files(
            [folder / "JPEGImages" / f"{stem}.jpg" for stem in stems], lambda f, to=images: to / f.name, link_or_copy
        )
        for count, ignored in IGNORED.items():
            labels = folder / f"annotations_{count}_detectron2" / name
            convert = partial(convert_label, table=id_table(read_class_list(f"voc_2012_{count}"), ignored, 255))
            label_maps = tasks_of_files(
                [folder / "SegmentationClass" / f"{stem}.png" for stem in stems],
                lambda f, to=labels: to / f.name,
                convert,
            )
            sources = (names, folder / "JPEGImages", folder / "SegmentationClass")
            result.append(
                Split(
                    name=f"{name}, {count} classes",
                    sources=sources,
                    tasks=[*pictures, *label_maps] if label_maps else [],
                    images=images,
                    labels=labels,
                    num_classes=count,
                    official_count=official_count,
                    stems=frozenset(stems),
                )
            )
    return result


VOC = Preparation(
    name="Pascal VOC 2012 (21 and 20 classes)",
    folder="VOCdevkit/VOC2012",
    page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    archive="VOCtrainval_11-May-2012.tar (1.9 GB)",
    splits=splits,
    archives=(
        Archive("VOCtrainval_11-May-2012.tar", "VOCdevkit/VOC2012", ("JPEGImages", "SegmentationClass", "ImageSets")),
    ),
    mistaken={"VOC2007": "VOC 2007", "VOC2010": "VOC 2010", "VOCtrainval_0*": "VOC of another year"},
)

if __name__ == "__main__":
    sys.exit(main(VOC))
