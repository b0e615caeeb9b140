"""The classes of a data set as those of a model, matched by their names."""

from collections.abc import Iterable, Sequence

import numpy as np
from detectron2.data import MetadataCatalog

from icpc_d2.data.label_code import LabelCode
from icpc_d2.files import as_compared

NAMED_CLASSES = 20  # of those that differ

Names = tuple[list[str], list[str], list[str]]  # of a class: for prompts, all whole ones, and each synonym in them


def label_code_of(dataset: str, order: Sequence[int] | None = None) -> LabelCode:
    """Return how the label files of a registered data set are read, and that class k is called `order`[k]."""
    metadata = MetadataCatalog.get(dataset)
    plain_code = LabelCode(len(metadata.get("stuff_classes", [])), metadata.get("ignore_label", 255))
    return metadata.get("label_code", plain_code).ordered(order)


def class_order(dataset: str, class_names: Sequence[str] = (), training_set: str = "") -> list[int] | None:
    """Return which of the model's classes each class of a registered data set is; None: they have the same order.

    Names are the same without regard to case, Unicode form, blanks, hyphens and underscores; one of several synonyms
    ("road, route") will do.

    Args:
        class_names: of the model; empty: those of `training_set`. Without either there is nothing to compare.
        training_set: whose classes `class_names` may rename, each in its place.

    Raises:
        ValueError: the data set has other classes; says which.
    """
    theirs, first = _names_of(dataset), _names_of(training_set) if training_set else []
    ours = [_names([name]) for name in class_names] or first
    if not ours:
        return None
    if len(theirs) != len(ours):
        raise ValueError(
            f"The data set '{dataset}' has {len(theirs)} classes but the model has {len(ours)}: check the spelling in "
            "DATASETS.TRAIN and DATASETS.TEST, and give both data sets of the same classes."
        )
    if len(first) == len(ours):
        places = _match(first, ours)
        if _is_renamed(places):
            places = list(range(len(ours)))
        # A model's class also has the names that the training set gives it.
        for place, more in zip(places, first, strict=True):
            if place is not None:
                ours[place] = tuple([*mine, *further] for mine, further in zip(ours[place], more, strict=True))
    order = _match(theirs, ours)
    if sorted(place for place in order if place is not None) != list(range(len(ours))):
        raise ValueError(_describe(dataset, theirs, ours, order))
    return None if order == list(range(len(order))) else order


def class_colors_of(dataset: str, class_names: Sequence[str], training_set: str) -> list[Sequence[int]]:
    """Return the colours (r, g, b) that a data set gives the model's classes; none if it has none.

    Arguments and errors are those of :func:`class_order`.
    """
    colors, order = MetadataCatalog.get(dataset).get("stuff_colors"), class_order(dataset, class_names, training_set)
    if not colors or order is None:
        return list(colors or [])
    return [colors[k] for k in inverse(order)]


def inverse(order: Sequence[int]) -> np.ndarray:
    """Return which class of the data set each of the model's classes is, (K,)."""
    return np.argsort(order)


def _is_renamed(places: Sequence[int | None]) -> bool:
    """Tell whether names that two lists have in common stand at the same places, and some are not common."""
    return None in places and all(place in (None, index) for index, place in enumerate(places))


def _names_of(dataset: str) -> list[Names]:
    metadata = MetadataCatalog.get(dataset) if dataset in MetadataCatalog.list() else {}
    stuff = metadata.get("stuff_classes") or []
    prompts = metadata.get("prompt_classes") or stuff
    if len(prompts) != len(stuff):
        raise ValueError(
            f"The data set '{dataset}' has {len(prompts)} `prompt_classes` and {len(stuff)} `stuff_classes` in its "
            "metadata: a class needs one of each."
        )
    synonyms = metadata.get("prompt_synonyms") or [()] * len(stuff)
    return [_names((prompt, name, *more)) for prompt, name, more in zip(prompts, stuff, synonyms, strict=True)]


def _names(names: Iterable[str]) -> Names:
    whole = [as_compared(name) for name in names]
    return whole[:1], whole, [part.strip() for name in whole for part in name.split(",")]


def _match(theirs: Sequence[Names], ours: Sequence[Names]) -> list[int | None]:
    """Return the place of each of their classes among ours by the first kind of name that one alone has, or None."""
    tables: list[dict[str, set[int]]] = [{}, {}, {}]
    for index, kinds in enumerate(ours):
        for table, names in zip(tables, kinds, strict=True):
            for name in names:
                table.setdefault(name, set()).add(index)
    found = []
    for kinds in theirs:
        hits = (
            set().union(*(table.get(name, ()) for name in names)) for table, names in zip(tables, kinds, strict=True)
        )
        found.append(next((hit.pop() for hit in hits if len(hit) == 1), None))
    return found


def _describe(dataset: str, theirs: Sequence[Names], ours: Sequence[Names], order: Sequence[int | None]) -> str:
    wrong = [k for k, place in enumerate(order) if place is None or order.count(place) > 1]
    right = {place for k, place in enumerate(order) if k not in wrong}
    missing = [names[0][0] for place, names in enumerate(ours) if place not in right]
    pairs = list(zip(wrong, missing, strict=True))
    shown = ", ".join(f"{k}: {theirs[k][0][0]!r} -> {name!r}" for k, name in pairs[:NAMED_CLASSES])
    more = f", and {len(wrong) - NAMED_CLASSES} more" if len(wrong) > NAMED_CLASSES else ""
    return (
        f"The data set '{dataset}' has other classes than the model, or names them otherwise. {len(wrong)} differ (id: "
        f"data set -> model): {shown}{more}. Give data sets of the same classes, in any order, or for an evaluation "
        "the list of those that they share: TEST.CROSS_DOMAIN.SHARED_CLASSES."
    )
