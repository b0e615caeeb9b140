"""One table of data sets. A new set is a new row of :data:`DATASETS` and a class list in ``classes/``.

Each row becomes names in Detectron2's ``DatasetCatalog`` and ``MetadataCatalog``, one per split, below the folder
``DETECTRON2_DATASETS`` (default: ``datasets``). Where Detectron2 or its projects have a name for a set, it is that one.
"""

import os

from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.registration import SemSegDataset, register_dataset
from icpc_d2.data.scenes.dataset import FOLDER as SCENES
from icpc_d2.data.scenes.dataset import make_scenes

ADE20K_SPLITS = {"train": "training", "val": "validation"}

DATASETS = (
    SemSegDataset(
        "ade20k_sem_seg_{}", "ade20k_150", "ADEChallengeData2016", "images/{}", splits=ADE20K_SPLITS, prepare="ade20k"
    ),
    SemSegDataset(
        "ade20k_full_sem_seg_{}",
        "ade20k_full_847",
        "ADE20K_2021_17_01",
        splits=ADE20K_SPLITS,
        label_ext="tif",
        ignore_label=ignore_label_of(847),
        prepare="ade20k_full",
    ),
    SemSegDataset(
        "coco_2017_{}_stuff_10k_sem_seg",
        "coco_stuff_171",
        "coco/coco_stuff_10k",
        splits={"train": "train", "test": "test"},
        prepare="coco_stuff_10k",
    ),
    SemSegDataset(
        "coco_2017_{}_stuff_sem_seg",
        "coco_stuff_171",
        "cocostuff164k",
        "images/{}",
        splits={"train": "train2017", "val": "val2017"},
        prepare="coco_stuff_164k",
    ),
    *(
        SemSegDataset(
            f"{name}_{count}_sem_seg_{{}}",
            f"{name}_{count}",
            f"VOCdevkit/{year}",
            labels=f"annotations_{count}_detectron2/{{}}",
            prepare=tool,
        )
        for name, counts, year, tool in (
            ("voc_2012", (21, 20), "VOC2012", "voc"),
            ("pascal_context", (59, 60), "VOC2010", "pascal_context"),
        )
        for count in counts
    ),
    # Detectron2's own cityscapes_fine_sem_seg_* need the package cityscapesscripts for files and evaluation.
    SemSegDataset("cityscapes_sem_seg_{}", "cityscapes_19", "cityscapes", image_ext="png", prepare="cityscapes"),
    *(
        SemSegDataset(
            f"isaid{kind}_sem_seg_{{}}",
            "isaid_16",
            "iSAID",
            f"images{kind}_detectron2/{{}}",
            f"annotations{kind}_detectron2/{{}}",
            image_ext="png",
            prepare=f"isaid{tiles}",
        )
        for kind, tiles in (("", ""), ("_tiles", " --tile 896"))
    ),
    SemSegDataset(
        "camvid_sem_seg_{}",
        "camvid_11",
        "camvid_detectron2",
        "images/{}",
        "annotations/{}",
        splits={"train": "train", "val": "val", "test": "test"},
        image_ext="png",
        prepare="camvid",
    ),
    SemSegDataset("scenes_sem_seg_{}", "scenes_10", SCENES, "images/{}", "annotations/{}", generate=make_scenes),
)


def datasets_root() -> str:
    """Return the folder of all data sets: ``DETECTRON2_DATASETS``, default ``datasets``."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_all(root: str) -> None:
    """Register every row of :data:`DATASETS` below `root`; what is registered already stays as it is."""
    for dataset in DATASETS:
        register_dataset(dataset, root)


register_all(datasets_root())
