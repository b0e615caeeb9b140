"""COCO-Stuff, 171 classes, on the images of COCO 2017: ``cocostuff164k/annotations`` -> ``annotations_detectron2``.

The official PNGs hold COCO's id - 1 (0..181, eleven of which never occur) and 255. The images stay.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split


def coco_stuff_164k_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of COCO-Stuff below `root`."""
    folder, classes = root / "cocostuff164k", read_class_list("coco_stuff_171")
    png_classes = replace(classes, ids=[number - 1 for number in classes.ids])
    convert = partial(convert_label, table=id_table(png_classes, [255]))
    for name, count in {"train2017": 118287, "val2017": 5000}.items():
        images = Files(folder / "images" / name, folder / "images" / name)
        labels = Files(folder / "annotations" / name, folder / "annotations_detectron2" / name, "*.png", convert)
        yield Split(name, images, labels, len(classes), count)


COCO_STUFF_164K = Preparation(
    name="COCO-Stuff 164k (171 classes)",
    folder="cocostuff164k",
    page="https://github.com/nightrome/cocostuff",
    archive="train2017.zip (18 GB), val2017.zip (1 GB) and stuffthingmaps_trainval2017.zip (0.7 GB)",
    splits=coco_stuff_164k_splits,
    archives=(
        Archive("train2017.zip", "cocostuff164k/images", ("train2017",)),
        Archive("val2017.zip", "cocostuff164k/images", ("val2017",)),
        Archive("stuffthingmaps_trainval2017.zip", "cocostuff164k/annotations", ("train2017", "val2017")),
    ),
    mistaken={
        "cocostuff-10k*": "COCO-Stuff10k (icpc prepare coco_stuff_10k)",
        "stuff_trainval2017*": "COCO's stuff labels without the things",
    },
)
