"""Pascal VOC 2012, and Pascal Context on the images of VOC 2010; each with and without a class for background.

VOC, 21 and 20 classes: ``SegmentationClass`` -> ``annotations_*_detectron2``. The official label maps are palette
images, whose indices are the ids: 0 for background, 1..20, and 255 for void.

Context, 60 and 59 classes: ``VOC2010/trainval/*.mat`` -> ``annotations_*_detectron2``. The official label maps,
``LabelMap`` in MATLAB files, hold 459 ids. All but the 59 frequent ones are background, which is ignored or a class.
The splits are those of VOC 2010: 4,998 and 5,105 images.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, read_mat
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split, read_stems

# Number of VOC's classes -> ids that are ignored.
IGNORED = {21: [255], 20: [0, 255]}
# Number of Context's classes -> what background becomes.
BACKGROUND = {59: 255, 60: 0}
CONTEXT_IDS = range(460)
# Context's splits: ImageSets/Main comes with VOC; the others are made by other projects' converters.
LISTS = ("ImageSets/SegmentationContext", "ImageSets/Main")


def voc_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of VOC 2012 below `root`, each for 21 and for 20 classes."""
    folder = root / "VOCdevkit/VOC2012"
    for name, official_count in {"train": 1464, "val": 1449}.items():
        listed = folder / "ImageSets/Segmentation" / f"{name}.txt"
        stems = read_stems(listed)
        images = Files(folder / "JPEGImages", folder / "images_detectron2" / name, "*.jpg", stems=stems)
        for count, ignored in IGNORED.items():
            convert = partial(convert_label, table=id_table(read_class_list(f"voc_2012_{count}"), ignored))
            target = folder / f"annotations_{count}_detectron2" / name
            labels = Files(folder / "SegmentationClass", target, "*.png", convert, stems=stems)
            yield Split(f"{name}, {count} classes", images, labels, count, official_count, stems, listed)


VOC = Preparation(
    name="Pascal VOC 2012 (21 and 20 classes)",
    folder="VOCdevkit/VOC2012",
    page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    archive="VOCtrainval_11-May-2012.tar (1.9 GB)",
    splits=voc_splits,
    archives=(
        Archive("VOCtrainval_11-May-2012.tar", "VOCdevkit/VOC2012", ("JPEGImages", "SegmentationClass", "ImageSets")),
    ),
    mistaken={"VOC2007": "VOC 2007", "VOC2010": "VOC 2010", "VOCtrainval_0*": "VOC of another year"},
)


def pascal_context_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of Pascal Context below `root`, each for 59 and for 60 classes."""
    folder = root / "VOCdevkit/VOC2010"
    for name, official_count in {"train": 4998, "val": 5105}.items():
        lists = [folder / where / f"{name}.txt" for where in LISTS]
        listed = next((path for path in lists if path.is_file()), lists[-1])
        stems = read_stems(listed)
        images = Files(folder / "JPEGImages", folder / "images_detectron2" / name, "*.jpg", stems=stems)
        for count, background in BACKGROUND.items():
            classes = read_class_list(f"pascal_context_{count}")
            table = id_table(classes, set(CONTEXT_IDS) - set(classes.ids), background)
            convert = partial(convert_label, table=table, read=partial(read_mat, field="LabelMap"))
            target = folder / f"annotations_{count}_detectron2" / name
            labels = Files(folder / "trainval", target, "*.mat", convert, ".png", stems)
            yield Split(f"{name}, {count} classes", images, labels, count, official_count, stems, listed)


PASCAL_CONTEXT = Preparation(
    name="Pascal Context (59 and 60 classes)",
    folder="VOCdevkit/VOC2010",
    page="https://cs.stanford.edu/~roozbeh/pascal-context/ (labels) and\n"
    "  http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar (images)",
    archive="trainval.tar.gz (below 0.1 GB) and VOCtrainval_03-May-2010.tar (1.3 GB)",
    splits=pascal_context_splits,
    archives=(
        Archive("VOCtrainval_03-May-2010.tar", "VOCdevkit/VOC2010", ("JPEGImages", "ImageSets")),
        Archive("trainval.tar.gz", "VOCdevkit/VOC2010", ("trainval",), (".mat",)),
    ),
    mistaken={
        "59_context_labels*": "the labels in another order than that of the 459 classes",
        "33_context_labels*": "the labels for 33 classes",
    },
)
