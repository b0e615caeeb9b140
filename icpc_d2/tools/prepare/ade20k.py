"""ADE20K, 150 classes: ``ADEChallengeData2016/annotations`` -> ``annotations_detectron2``.

The official ids are 0 for "other objects" and 1..150; Detectron2 wants 0..149 and 255. The images stay.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from icpc_d2.data.class_list import read_class_list
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split

# Split -> (names of the files, their number).
OFFICIAL = {"training": ("ADE_train_{:08d}", 20210), "validation": ("ADE_val_{:08d}", 2000)}


def ade20k_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of ADE20K below `root`."""
    folder, classes = root / "ADEChallengeData2016", read_class_list("ade20k_150")
    convert = partial(convert_label, table=id_table(classes, [0]))
    for name, (stem, count) in OFFICIAL.items():
        images = Files(folder / "images" / name, folder / "images" / name)
        labels = Files(folder / "annotations" / name, folder / "annotations_detectron2" / name, "*.png", convert)
        stems = [stem.format(number) for number in range(1, count + 1)]
        yield Split(name, images, labels, len(classes), count, stems)


ADE20K = Preparation(
    name="ADE20K (150 classes)",
    folder="ADEChallengeData2016",
    page="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    archive="ADEChallengeData2016.zip (0.9 GB; not the full ADE20K)",
    splits=ade20k_splits,
    archives=(Archive("ADEChallengeData2016*.zip", "ADEChallengeData2016", ("images", "annotations")),),
    mistaken={
        "ADE20K_20*": "the full ADE20K (for 847 classes: icpc prepare ade20k_full)",
        "release_test*": "ADE20K's test set, which has no labels",
    },
)
