"""One table of data sets. A new set is a new row of :data:`DATASETS` and a class list in ``classes/``.

Each row becomes names in Detectron2's ``DatasetCatalog`` and ``MetadataCatalog``, one per split, below the folder
``DETECTRON2_DATASETS`` (default: ``datasets``). Where Detectron2 or its projects have a name for a set, it is that one.
"""

import os

from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.registration import SemSegDataset, register_dataset
from icpc_d2.data.scenes.dataset import make_scenes

TRAIN_VAL = {"train": "train", "val": "val"}
PREPARE = "icpc prepare "

DATASETS = (
    SemSegDataset(
        name="ade20k_sem_seg_{}",
        classes="ade20k_150",
        images="ADEChallengeData2016/images/{}",
        labels="ADEChallengeData2016/annotations_detectron2/{}",
        splits={"train": "training", "val": "validation"},
        prepare=PREPARE + "ade20k",
    ),
    SemSegDataset(
        name="ade20k_full_sem_seg_{}",
        classes="ade20k_full_847",
        images="ADE20K_2021_17_01/images_detectron2/{}",
        labels="ADE20K_2021_17_01/annotations_detectron2/{}",
        splits={"train": "training", "val": "validation"},
        label_ext="tif",
        ignore_label=ignore_label_of(847),
        prepare=PREPARE + "ade20k_full",
    ),
    SemSegDataset(
        name="coco_2017_{}_stuff_10k_sem_seg",
        classes="coco_stuff_171",
        images="coco/coco_stuff_10k/images_detectron2/{}",
        labels="coco/coco_stuff_10k/annotations_detectron2/{}",
        splits={"train": "train", "test": "test"},
        prepare=PREPARE + "coco_stuff_10k",
    ),
    SemSegDataset(
        name="coco_2017_{}_stuff_sem_seg",
        classes="coco_stuff_171",
        images="cocostuff164k/images/{}",
        labels="cocostuff164k/annotations_detectron2/{}",
        splits={"train": "train2017", "val": "val2017"},
        prepare=PREPARE + "coco_stuff_164k",
    ),
    *(
        SemSegDataset(
            name=f"voc_2012_{count}_sem_seg_{{}}",
            classes=f"voc_2012_{count}",
            images="VOCdevkit/VOC2012/images_detectron2/{}",
            labels=f"VOCdevkit/VOC2012/annotations_{count}_detectron2/{{}}",
            splits=TRAIN_VAL,
            prepare=PREPARE + "voc",
        )
        for count in (21, 20)
    ),
    *(
        SemSegDataset(
            name=f"pascal_context_{count}_sem_seg_{{}}",
            classes=f"pascal_context_{count}",
            images="VOCdevkit/VOC2010/images_detectron2/{}",
            labels=f"VOCdevkit/VOC2010/annotations_{count}_detectron2/{{}}",
            splits=TRAIN_VAL,
            prepare=PREPARE + "pascal_context",
        )
        for count in (59, 60)
    ),
    # Detectron2's own cityscapes_fine_sem_seg_* need the package cityscapesscripts for files and evaluation.
    SemSegDataset(
        name="cityscapes_sem_seg_{}",
        classes="cityscapes_19",
        images="cityscapes/images_detectron2/{}",
        labels="cityscapes/annotations_detectron2/{}",
        splits=TRAIN_VAL,
        image_ext="png",
        prepare=PREPARE + "cityscapes",
    ),
    *(
        SemSegDataset(
            name=f"isaid{kind}_sem_seg_{{}}",
            classes="isaid_16",
            images=f"iSAID/images{kind}_detectron2/{{}}",
            labels=f"iSAID/annotations{kind}_detectron2/{{}}",
            splits=TRAIN_VAL,
            image_ext="png",
            prepare=PREPARE + f"isaid{tiles}",
        )
        for kind, tiles in (("", ""), ("_tiles", " --tile 896"))
    ),
    SemSegDataset(
        name="camvid_sem_seg_{}",
        classes="camvid_11",
        images="camvid_detectron2/images/{}",
        labels="camvid_detectron2/annotations/{}",
        splits={**TRAIN_VAL, "test": "test"},
        image_ext="png",
        prepare=PREPARE + "camvid",
    ),
    SemSegDataset(
        name="scenes_sem_seg_{}",
        classes="scenes_10",
        images="scenes_v2/images/{}",
        labels="scenes_v2/annotations/{}",
        splits=TRAIN_VAL,
        generate=make_scenes,
    ),
)


def datasets_root() -> str:
    """The folder of all data sets: ``DETECTRON2_DATASETS``, default ``datasets``."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_all(root: str) -> None:
    """Register every row of :data:`DATASETS` below `root`; what is registered already stays as it is."""
    for dataset in DATASETS:
        register_dataset(dataset, root)


register_all(datasets_root())
