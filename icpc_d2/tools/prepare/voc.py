"""Pascal VOC 2012, 21 classes with background and 20 without: ``SegmentationClass`` -> ``annotations_*_detectron2``.

The official label maps are palette images, whose indices are the ids: 0 for background, 1..20, and 255 for void.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split, read_stems

# Number of classes -> ids that are ignored.
IGNORED = {21: [255], 20: [0, 255]}


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
