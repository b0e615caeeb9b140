"""Pascal Context, 59 classes and 60 with background: ``VOC2010/trainval/*.mat`` -> ``annotations_*_detectron2``.

The official label maps, ``LabelMap`` in MATLAB files, hold 459 ids. All but the 59 frequent ones are background, which
is ignored or a class. The splits are those of VOC 2010: 4,998 and 5,105 pictures.
"""

import sys
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy, mat_reader
from icpc_d2.tools.prepare.recipe import Preparation, Split, main, tasks_of_files

OFFICIAL_COUNTS = {"train": 4998, "val": 5105}
NUM_IDS = 460  # 0..459
# ImageSets/Main comes with VOC; the others are made by other projects' converters.
LISTS = ("ImageSets/SegmentationContext", "ImageSets/Main")


def splits(root: Path) -> list[Split]:
    """List the splits of Pascal Context below `root`, each for 59 and for 60 classes."""
    folder = root / "VOCdevkit/VOC2010"
    tables = {}
    for count, background in ((59, 255), (60, 0)):
        classes = read_class_list(f"pascal_context_{count}")
        tables[count] = id_table(classes, set(range(NUM_IDS)) - set(classes.ids), background)
    result = []
    for name, official_count in OFFICIAL_COUNTS.items():
        lists = [folder / where / f"{name}.txt" for where in LISTS]
        names = next((path for path in lists if path.is_file()), lists[-1])
        stems = names.read_text().split() if names.is_file() else []
        images = folder / "images_detectron2" / name
        pictures = tasks_of_files(
            [folder / "JPEGImages" / f"{stem}.jpg" for stem in stems], lambda f, to=images: to / f.name, link_or_copy
        )
        for count, table in tables.items():
            labels = folder / f"annotations_{count}_detectron2" / name
            label_maps = tasks_of_files(
                [folder / "trainval" / f"{stem}.mat" for stem in stems],
                lambda f, to=labels: to / f"{f.stem}.png",
                partial(convert_label, table=table, read=mat_reader("LabelMap")),
            )
            result.append(
                Split(
                    name=f"{name}, {count} classes",
                    sources=(names, folder / "JPEGImages", folder / "trainval"),
                    tasks=[*pictures, *label_maps] if label_maps else [],
                    images=images,
                    labels=labels,
                    num_classes=count,
                    official_count=official_count,
                    stems=frozenset(stems),
                )
            )
    return result


PASCAL_CONTEXT = Preparation(
    name="Pascal Context (59 and 60 classes)",
    folder="VOCdevkit/VOC2010",
    page="https://cs.stanford.edu/~roozbeh/pascal-context/ (labels) and\n"
    "  http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar (pictures)",
    archive="trainval.tar.gz (below 0.1 GB) and VOCtrainval_03-May-2010.tar (1.3 GB)",
    splits=splits,
    archives=(
        Archive("VOCtrainval_03-May-2010.tar", "VOCdevkit/VOC2010", ("JPEGImages", "ImageSets")),
        Archive("trainval.tar.gz", "VOCdevkit/VOC2010", ("trainval",), (".mat",)),
    ),
    mistaken={
        "59_context_labels*": "the labels in another order than that of the 459 classes",
        "33_context_labels*": "the labels for 33 classes",
    },
)

if __name__ == "__main__":
    sys.exit(main(PASCAL_CONTEXT))
