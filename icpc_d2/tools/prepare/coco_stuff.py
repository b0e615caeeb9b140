"""COCO-Stuff, 171 classes: COCO-Stuff10k of either edition, and COCO-Stuff 164k on the images of COCO 2017.

COCO-Stuff10k: ``cocostuff-10k-v1.*`` -> ``coco/coco_stuff_10k``. The matrix ``S`` of each ``.mat`` file holds, in v1.1,
COCO's ids: 0 for unlabelled, 1..182, eleven of which never occur; in v1.0, 1 for unlabelled and 2..172 without gaps.
Most images hold an id that only one of the two has (0, one of the eleven, one above 172): these decide, not the
folder's name or the file's format.

COCO-Stuff 164k: ``cocostuff164k/annotations`` -> ``annotations_detectron2``. The official PNGs hold COCO's id - 1
(0..181, eleven of which never occur) and 255. The images stay.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from icpc_d2.data.class_list import ClassList, read_class_list
from icpc_d2.data.reading import BadFileError
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, read_mat
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split, read_stems

_read = partial(read_mat, field="S")


def table_of(files: list[Path], classes: ClassList) -> np.ndarray:
    """Return the table from ids to 0..170 or 255 of the edition that the first file with an id of its own tells.

    All others are held to it: a file of the other edition has ids that the table lacks, which is an error.

    Raises:
        ValueError: no file tells, or one has ids of neither edition.
    """
    v1_0 = replace(classes, ids=[index + 2 for index in range(len(classes))])
    tables = [id_table(v1_0, [1]), id_table(classes, [0])]
    for file in files:
        try:
            ids = np.unique(_read(file))
        except BadFileError:
            continue  # named when it is converted
        fitting = [table for table in tables if ids[0] >= 0 and ids[-1] < len(table) and (table[ids] >= 0).all()]
        if not fitting:
            raise ValueError(f"{file}: the ids {ids.tolist()} are of neither edition of COCO-Stuff10k.")
        if len(fitting) == 1:
            return fitting[0]
    raise ValueError(
        f"{files[0].parent}: {len(files)} files, and all their ids occur in v1.0 and in v1.1 of COCO-Stuff10k, with "
        "different meanings. Put more of the data set's files there."
    )


def coco_stuff_10k_splits(root: Path) -> Iterator[Split]:
    """Yield the splits of COCO-Stuff10k below `root`.

    Raises:
        ValueError: both editions are there, or none can be told from the labels.
    """
    target, classes = root / "coco/coco_stuff_10k", read_class_list("coco_stuff_171")
    found = [folder for folder in sorted(root.glob("cocostuff-10k-v1.*")) if (folder / "annotations").is_dir()]
    if len(found) > 1:
        raise ValueError(f"found {', '.join(map(str, found))}, wanted one edition: move the other one away.")
    folder = found[0] if found else root / "cocostuff-10k-v1.1"
    mat_files = sorted(folder.glob("annotations/[!.]*.mat"))
    table = table_of(mat_files, classes) if mat_files else None
    convert = partial(convert_label, table=table, read=_read)
    for name, count in {"train": 9000, "test": 1000}.items():
        listed = folder / "imageLists" / f"{name}.txt"
        stems = read_stems(listed)
        images = Files(folder / "images", target / "images_detectron2" / name, "*.jpg", stems=stems)
        labels = Files(
            folder / "annotations", target / "annotations_detectron2" / name, "*.mat", convert, ".png", stems
        )
        yield Split(name, images, labels, len(classes), count, stems, listed)


COCO_STUFF_10K = Preparation(
    name="COCO-Stuff10k (171 classes)",
    folder="cocostuff-10k-v1.1",
    page="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip",
    archive="cocostuff-10k-v1.1.zip (2.0 GB)",
    splits=coco_stuff_10k_splits,
    archives=tuple(
        Archive(f"cocostuff-10k-v{edition}.zip", f"cocostuff-10k-v{edition}", ("images", "annotations", "imageLists"))
        for edition in ("1.0", "1.1")
    ),
    mistaken={"stuffthingmaps*": "COCO-Stuff 164k (icpc prepare coco_stuff_164k)"},
)


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
