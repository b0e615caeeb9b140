"""One table of data sets. A new set is a new row of :data:`DATASETS` and a class list in ``classes/``.

Each row becomes names in Detectron2's ``DatasetCatalog`` and ``MetadataCatalog``, one per split, below the folder
``DETECTRON2_DATASETS`` (default: ``datasets``). Where Detectron2 or its projects have a name for a set, it is that one.
"""

import os

from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.registration import SemSegDataset, register_dataset
from icpc_d2.data.scenes.dataset import FOLDER as SCENES
from icpc_d2.data.scenes.dataset import make_scenes

PREPARE = "icpc prepare "
ADE20K_SPLITS = {"train": "training", "val": "validation"}

DATASETS = (
    SemSegDataset(
        name="ade20k_sem_seg_{}",
        classes="ade20k_150",
        folder="ADEChallengeData2016",
        images="images/{}",
        splits=ADE20K_SPLITS,
        prepare=PREPARE + "ade20k",
    ),
    SemSegDataset(
        name="ade20k_full_sem_seg_{}",
        classes="ade20k_full_847",
        folder="ADE20K_2021_17_01",
        splits=ADE20K_SPLITS,
        label_ext="tif",
        ignore_label=ignore_label_of(847),
        prepare=PREPARE + "ade20k_full",
    ),
    SemSegDataset(
        name="coco_2017_{}_stuff_10k_sem_seg",
        classes="coco_stuff_171",
        folder="coco/coco_stuff_10k",
        splits={"train": "train", "test": "test"},
        prepare=PREPARE + "coco_stuff_10k",
    ),
    SemSegDataset(
        name="coco_2017_{}_stuff_sem_seg",
        classes="coco_stuff_171",
        folder="cocostuff164k",
        images="images/{}",
        splits={"train": "train2017", "val": "val2017"},
        prepare=PREPARE + "coco_stuff_164k",
    ),
    *(
        SemSegDataset(
            name=f"{name}_{count}_sem_seg_{{}}",
            classes=f"{name}_{count}",
            folder=f"VOCdevkit/{year}",
            labels=f"annotations_{count}_detectron2/{{}}",
            prepare=PREPARE + tool,
        )
        for name, count, year, tool in (
            ("voc_2012", 21, "VOC2012", "voc"),
            ("voc_2012", 20, "VOC2012", "voc"),
            ("pascal_context", 59, "VOC2010", "pascal_context"),
            ("pascal_context", 60, "VOC2010", "pascal_context"),
        )
    ),
    # Detectron2's own cityscapes_fine_sem_seg_* need the package cityscapesscripts for files and evaluation.
    SemSegDataset(
        name="cityscapes_sem_seg_{}",
        classes="cityscapes_19",
        folder="cityscapes",
        image_ext="png",
        prepare=PREPARE + "cityscapes",
    ),
    *(
        SemSegDataset(
            name=f"isaid{kind}_sem_seg_{{}}",
            classes="isaid_16",
            folder="iSAID",
            images=f"images{kind}_detectron2/{{}}",
            labels=f"annotations{kind}_detectron2/{{}}",
            image_ext="png",
            prepare=PREPARE + f"isaid{tiles}",
        )
        for kind, tiles in (("", ""), ("_tiles", " --tile 896"))
    ),
    SemSegDataset(
        name="camvid_sem_seg_{}",
        classes="camvid_11",
        folder="camvid_detectron2",
        images="images/{}",
        labels="annotations/{}",
        splits={"train": "train", "val": "val", "test": "test"},
        image_ext="png",
        prepare=PREPARE + "camvid",
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
