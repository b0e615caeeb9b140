"""One table of data sets. A new set is a new row of :data:`DATASETS` and a class list in ``classes/``.

Each row becomes names in Detectron2's ``DatasetCatalog`` and ``MetadataCatalog``, one per split, below the folder
``DETECTRON2_DATASETS`` (default: ``datasets``). Images and labels lie in flat folders and pair by equal stems.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_sem_seg

from icpc_d2.data.class_list import ClassList, read_class_list
from icpc_d2.data.scenes import make_scenes

logger = logging.getLogger(__name__)

TRAIN_VAL = {"train": "train", "val": "val"}


@dataclass(frozen=True)
class SemSegDataset:
    """A row of the table.

    Attributes:
        name: registered as ``<name>_<split>``.
        classes: class list, see :func:`icpc_d2.data.class_list.read_class_list`.
        images: folder of pictures below the root, with ``{}`` for the split's folder.
        labels: folder of label maps, likewise.
        splits: registered split -> folder.
        image_ext: ending of the pictures.
        label_ext: ending of the label maps.
        ignore_label: label value that is neither trained nor evaluated.
        prepare: command that makes these folders, for the message when they are missing.
        generate: function of the root that makes the data on first use, for sets that are drawn instead of downloaded.
    """

    name: str
    classes: str
    images: str
    labels: str
    splits: Mapping[str, str]
    image_ext: str = "jpg"
    label_ext: str = "png"
    ignore_label: int = 255
    prepare: str = ""
    generate: Callable[[str], None] | None = None


DATASETS = (
    SemSegDataset(
        name="ade20k_sem_seg",
        classes="ade20k_150",
        images="ADEChallengeData2016/images/{}",
        labels="ADEChallengeData2016/annotations_detectron2/{}",
        splits={"train": "training", "val": "validation"},
        prepare="python -m icpc_d2.tools.prepare_ade20k",
    ),
    SemSegDataset(
        name="ade20k_full_sem_seg",
        classes="ade20k_full_847",
        images="ADE20K_2021_17_01/images_detectron2/{}",
        labels="ADE20K_2021_17_01/annotations_detectron2/{}",
        splits={"train": "training", "val": "validation"},
        ignore_label=65535,
    ),
    SemSegDataset(
        name="camvid_sem_seg",
        classes="camvid_11",
        images="camvid_detectron2/images/{}",
        labels="camvid_detectron2/annotations/{}",
        splits={**TRAIN_VAL, "test": "test"},
        image_ext="png",
        prepare="python -m icpc_d2.tools.prepare_camvid",
    ),
    SemSegDataset(
        name="scenes_sem_seg",
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


def register_dataset(dataset: SemSegDataset, root: str) -> None:
    """Register the splits of one data set.

    A name that is taken (by Detectron2 itself, another project, or an earlier call) is not registered again: if its
    classes are ours it only gets ``prompt_classes``, else a warning says that it was left alone.
    """
    classes = read_class_list(dataset.classes)
    for split, folder in dataset.splits.items():
        name = f"{dataset.name}_{split}"
        if name in DatasetCatalog.list():
            _share(name, dataset, classes)
            continue
        image_root = os.path.join(root, dataset.images.format(folder))
        label_root = os.path.join(root, dataset.labels.format(folder))
        DatasetCatalog.register(name, partial(load_dataset, dataset, root, image_root, label_root))
        if classes.colors:
            MetadataCatalog.get(name).set(stuff_colors=classes.colors)
        MetadataCatalog.get(name).set(
            stuff_classes=classes.names,
            prompt_classes=classes.prompt_names,
            image_root=image_root,
            sem_seg_root=label_root,
            ignore_label=dataset.ignore_label,
            evaluator_type="sem_seg",
        )


def load_dataset(dataset: SemSegDataset, root: str, image_root: str, label_root: str) -> list[dict]:
    """List the pairs of one split as Detectron2's dataset dicts, generating the data first if it is a generated set.

    Raises:
        FileNotFoundError: a folder is missing; says which command makes it.
    """
    if dataset.generate is not None:
        dataset.generate(root)
    for folder in (image_root, label_root):
        if not os.path.isdir(folder):
            advice = f"Run `{dataset.prepare}`" if dataset.prepare else "Make it"
            raise FileNotFoundError(
                f"{dataset.name}: no folder {folder}. {advice}, "
                "or set DETECTRON2_DATASETS to the folder that holds your data sets."
            )
    return load_sem_seg(label_root, image_root, gt_ext=dataset.label_ext, image_ext=dataset.image_ext)


def _share(name: str, dataset: SemSegDataset, classes: ClassList) -> None:
    """Add the prompt names to a set that somebody registered before us, if its classes are the same ones."""
    metadata = MetadataCatalog.get(name)
    theirs = metadata.get("stuff_classes", [])
    same = len(theirs) == len(classes) and all(
        # Detectron2's ADE20K has synonyms in its names, some with a trailing blank: "road, route", "window ".
        {synonym.strip() for synonym in their.split(",")} & {prompt_name, ours}
        for their, prompt_name, ours in zip(theirs, classes.prompt_names, classes.names, strict=True)
    )
    if not same or metadata.get("ignore_label", dataset.ignore_label) != dataset.ignore_label:
        logger.warning(
            "%s is already registered with other classes (%d; ours: %d) or another ignore label. It is left alone; "
            "its own class names are used in the prompts.",
            name,
            len(theirs),
            len(classes),
        )
    elif "prompt_classes" not in metadata.as_dict():
        metadata.set(prompt_classes=classes.prompt_names)


register_all(datasets_root())
