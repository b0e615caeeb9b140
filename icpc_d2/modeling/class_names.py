"""The class names of a model, from the config or the metadata of the data set that it is trained on."""

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog


def get_class_names(cfg: CfgNode) -> list[str]:
    """Return the names as prompts say them.

    They are ``MODEL.CLASS_NAMES`` or, if that is empty, ``prompt_classes`` (else ``stuff_classes``) of the metadata of
    ``DATASETS.TRAIN[0]``.

    Raises:
        ValueError: if there are none, or ``MODEL.SEM_SEG_HEAD.NUM_CLASSES`` is another number than theirs (0 is any).
    """
    names, source = list(cfg.MODEL.CLASS_NAMES), "MODEL.CLASS_NAMES"
    if not names and cfg.DATASETS.TRAIN:
        source = f"the metadata of {cfg.DATASETS.TRAIN[0]!r}"
        names = read_class_names(cfg.DATASETS.TRAIN)
    if not names:
        raise ValueError(
            "there are no class names; name a registered data set in DATASETS.TRAIN (its metadata needs "
            "`stuff_classes`), or list them in MODEL.CLASS_NAMES"
        )
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if number not in (0, len(names)):
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {number}, but {source} has {len(names)} class names; "
            "leave NUM_CLASSES at 0 to take their number"
        )
    return names


def read_class_names(datasets: str | Sequence[str]) -> list[str]:
    """Return ``prompt_classes`` (else ``stuff_classes``) of the metadata of a data set, or of the first of several.

    Without either, or without a data set, there are none.
    """
    first = datasets if isinstance(datasets, str) else next(iter(datasets), None)
    metadata = {} if first is None else MetadataCatalog.get(first)
    return list(metadata.get("prompt_classes") or metadata.get("stuff_classes") or [])


def count_classes(names: Sequence[str]) -> int:
    """Return the number of classes, for config files in which other parts are built for as many."""
    return len(names)
