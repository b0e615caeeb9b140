"""One table of data sets, and its registration. A new set is a new row of :data:`DATASETS` and a list in ``classes/``.

Each row becomes names in Detectron2's ``DatasetCatalog`` and ``MetadataCatalog``, one per split, below the folder
``DETECTRON2_DATASETS`` (default: ``datasets``). Where Detectron2 or its projects have a name for a set, it is that one.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_sem_seg

from icpc_d2.data.class_list import ClassList, ignore_label_of, read_class_list
from icpc_d2.data.scenes.captioned_dataset import CAPTIONED_FOLDER, make_captioned_scenes
from icpc_d2.data.scenes.dataset import FOLDER as SCENES
from icpc_d2.data.scenes.dataset import make_scenes, styled_folder
from icpc_d2.data.scenes.styles import STYLES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SemSegDataset:
    """A data set of images and label maps in flat folders, which pair by equal stems."""

    name: str  # of its splits in the catalogs, with {} for the split
    classes: str  # class list, see :func:`icpc_d2.data.class_list.read_class_list`
    folder: str  # of the whole data set, below the root of all
    images: str = "images_detectron2/{}"  # folder of images in it, with {} for the split's folder
    labels: str = "annotations_detectron2/{}"  # folder of label maps, likewise
    # Registered split -> folder.
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "val": "val"})
    image_ext: str = "jpg"
    label_ext: str = "png"
    ignore_label: int = 255  # of pixels that are neither trained nor evaluated
    prepare: str = ""  # what `icpc prepare` is called with to make these folders
    first: int | None = None  # so many of the pairs, in the order of their names; without it, all of them
    generate: Callable[[str], None] | None = None  # makes the data below the root on first use: drawn, not downloaded

    def folders(self, root: str, split: str) -> tuple[str, str]:
        """Return the folders of the images and of the label maps of a split."""
        images, labels = (pattern.format(self.splits[split]) for pattern in (self.images, self.labels))
        return os.path.join(root, self.folder, images), os.path.join(root, self.folder, labels)

    def missing(self, folder: str) -> str:
        """Return what to do about a folder that is not there."""
        advice = f"Run `icpc prepare {self.prepare}`" if self.prepare else "Make it"
        where = "set DETECTRON2_DATASETS to the folder that holds your data sets."
        return f"{self.name.format('*')}: no folder {folder}. {advice}, or {where}"


ADE20K_SPLITS = {"train": "training", "val": "validation"}

TRAIN, VAL = {"train": "train"}, {"val": "val"}

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
    *(
        SemSegDataset(name, "scenes_10", folder, "images/{}", "annotations/{}", splits, first=first, generate=generate)
        for name, folder, splits, first, generate in (
            ("scenes_sem_seg_{}", SCENES, TRAIN | VAL, None, make_scenes),
            # Few labels.
            *((f"scenes_{first}_sem_seg_{{}}", SCENES, TRAIN, first, make_scenes) for first in (20, 60)),
            # The same scenes in other styles.
            *(
                (
                    f"scenes_{style.replace(' ', '_')}_sem_seg_{{}}",
                    styled_folder(style),
                    VAL,
                    None,
                    partial(make_scenes, style=style),
                )
                for style in STYLES
                if style != "day"
            ),
            ("scenes_captioned_sem_seg_{}", CAPTIONED_FOLDER, TRAIN | VAL, None, make_captioned_scenes),
        )
    ),
)


def datasets_root() -> str:
    """Return the folder of all data sets: ``DETECTRON2_DATASETS``, default ``datasets``."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_all(root: str) -> None:
    """Register every row of :data:`DATASETS` below `root`; what is registered already stays as it is."""
    for dataset in DATASETS:
        register_dataset(dataset, root)


def register_dataset(dataset: SemSegDataset, root: str) -> None:
    """Register the splits of one data set.

    A name that is taken (by Detectron2 itself, another project, or an earlier call) only gets ``prompt_classes`` if its
    classes are ours, else a warning says that it was left alone.
    """
    classes = read_class_list(dataset.classes)
    for split in dataset.splits:
        name = dataset.name.format(split)
        if name in DatasetCatalog.list():
            _add_prompt_names(name, dataset, classes)
        else:
            DatasetCatalog.register(name, partial(load_dataset, dataset, root, split))
            # The folders of a set's first pairs hold others too, and would be taken for it.
            folders = ("", "") if dataset.first else dataset.folders(root, split)
            set_metadata(name, classes, *folders, dataset.ignore_label)


def set_metadata(name: str, classes: ClassList, image_root: str, label_root: str, ignore_label: int) -> None:
    """Tell Detectron2, and our own parts, about a data set that was registered."""
    MetadataCatalog.get(name).set(
        stuff_classes=classes.names,
        prompt_classes=classes.prompt_names,
        stuff_dataset_id_to_contiguous_id={original: index for index, original in enumerate(classes.ids)},
        image_root=image_root,
        sem_seg_root=label_root,
        ignore_label=ignore_label,
        evaluator_type="sem_seg",
        **({"stuff_colors": classes.colors} if classes.colors else {}),
        **({"prompt_synonyms": classes.synonyms} if classes.synonyms else {}),
    )


def load_dataset(dataset: SemSegDataset, root: str, split: str) -> list[dict]:
    """List the pairs of one split as Detectron2's dataset dicts; a generated set is generated first.

    Raises:
        FileNotFoundError: a folder is missing; says which command makes it.
    """
    if dataset.generate is not None:
        dataset.generate(root)
    image_root, label_root = dataset.folders(root, split)
    if missing := [folder for folder in (image_root, label_root) if not os.path.isdir(folder)]:
        raise FileNotFoundError(dataset.missing(missing[0]))
    pairs = load_sem_seg(label_root, image_root, gt_ext=dataset.label_ext, image_ext=dataset.image_ext)
    return pairs[: dataset.first]


def _add_prompt_names(name: str, dataset: SemSegDataset, classes: ClassList) -> None:
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
            f"{name} is already registered with other classes ({len(theirs)}; ours: {len(classes)}) or another ignore "
            "label. It is left alone; its own class names are used in the prompts."
        )
    elif "prompt_classes" not in metadata.as_dict():
        metadata.set(prompt_classes=classes.prompt_names)
        DatasetCatalog[name] = partial(_load_prepared, DatasetCatalog[name], dataset)


def _load_prepared(theirs: Callable[[], list[dict]], dataset: SemSegDataset) -> list[dict]:
    """Call the function of others; where its folders are missing, say which command of ours makes them."""
    try:
        return theirs()
    except FileNotFoundError as error:
        raise FileNotFoundError(dataset.missing(error.filename or "of these images or labels")) from error


register_all(datasets_root())
