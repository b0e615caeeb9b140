"""The names of a model's classes, from the config or the metadata of the training data."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata, MetadataCatalog


def get_class_names(cfg: CfgNode) -> list[str]:
    """Return the names as prompts say them.

    They are ``MODEL.CLASS_NAMES`` or, if that is empty, ``prompt_classes`` (else ``stuff_classes``) of the metadata of
    ``DATASETS.TRAIN[0]``.

    Raises:
        ValueError: if there are none, one is no text, or ``MODEL.SEM_SEG_HEAD.NUM_CLASSES`` is another number than
            theirs (0 is any).
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
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise ValueError(
            f"{source} has {wrong[0]!r} among its class names; wanted are texts. In YAML, yes, no, on, off and numbers "
            'are texts in quotation marks alone: ["on", "off"]. Further names of a class stand in MODEL.CLASS_SYNONYMS'
        )
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if number not in (0, len(names)):
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {number}, but {source} has {len(names)} class names; "
            "leave NUM_CLASSES at 0 to take their number"
        )
    return names


def get_synonyms(cfg: CfgNode) -> list[tuple[str, ...]]:
    """Return all names of each class, that of :func:`get_class_names` first.

    The others are ``MODEL.CLASS_SYNONYMS`` or, if names and synonyms are both left to it, ``prompt_synonyms`` of the
    metadata of ``DATASETS.TRAIN[0]``.

    Raises:
        ValueError: ``MODEL.CLASS_SYNONYMS`` is no list of names for each class; or see :func:`get_class_names`.
    """
    names, synonyms = get_class_names(cfg), list(cfg.MODEL.CLASS_SYNONYMS)
    if not synonyms and not cfg.MODEL.CLASS_NAMES:
        return read_synonyms(cfg.DATASETS.TRAIN)
    is_list = [isinstance(more, list | tuple) and all(isinstance(name, str) for name in more) for more in synonyms]
    if synonyms and (len(synonyms) != len(names) or not all(is_list)):
        raise ValueError(
            f"MODEL.CLASS_SYNONYMS is {synonyms}; wanted is a list of further names for each of the {len(names)} "
            f"classes {names}, empty for those that have none"
        )
    return [(name, *more) for name, more in zip(names, synonyms or [()] * len(names), strict=True)]


def resolve_class_names(cfg: CfgNode) -> None:
    """Write the names of the classes into the config, in place, so that it needs no metadata any more."""
    synonyms = get_synonyms(cfg)
    cfg.MODEL.CLASS_NAMES = [names[0] for names in synonyms]
    more = [list(names[1:]) for names in synonyms]
    cfg.MODEL.CLASS_SYNONYMS = more if any(more) else []


def read_synonyms(datasets: str | Sequence[str]) -> list[tuple[str, ...]]:
    """Return all names of each class, those of :func:`read_class_names` first, then the metadata's."""
    names, metadata = read_class_names(datasets), _metadata_of(datasets)
    return [
        (name, *more) for name, more in zip(names, metadata.get("prompt_synonyms") or [()] * len(names), strict=True)
    ]


def read_class_names(datasets: str | Sequence[str]) -> list[str]:
    """Return ``prompt_classes`` (else ``stuff_classes``) of the metadata of a data set, or of the first of several.

    Without either, or without a data set, there are none.
    """
    metadata = _metadata_of(datasets)
    return list(metadata.get("prompt_classes") or metadata.get("stuff_classes") or [])


def count_classes(names: Sequence[str]) -> int:
    """Return the number of classes, for config files in which other parts are built for as many."""
    return len(names)


def _metadata_of(datasets: str | Sequence[str]) -> Mapping[str, Any] | Metadata:
    first = datasets if isinstance(datasets, str) else next(iter(datasets), None)
    return {} if first is None else MetadataCatalog.get(first)
