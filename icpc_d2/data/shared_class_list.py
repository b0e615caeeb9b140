"""The classes that a data set shares with a model of other classes, from plain text files (the paper's Table 9).

One class a line, by the names that the prompts say: ``data set's name | model's name``, or one name where both say the
same. Several of the model's classes may be one of the data set's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icpc_d2.data.class_list import check_unique

SHARED_CLASSES = Path(__file__).parent / "shared_classes"
OTHER = -1


@dataclass(frozen=True)
class SharedClasses:
    """The classes that a data set of one vocabulary and a model of another have in common."""

    names: list[str]  # of the n shared classes, as the data set calls them and in its order
    dataset_ids: np.ndarray  # (n,) their ids in the data set
    model_ids: list[int]  # of the model's classes that are one of them, ascending
    of_model: np.ndarray  # (model's classes,) place of each in `names`, :data:`OTHER` where it has none

    @property
    def to_dataset(self) -> np.ndarray:
        """Return (model's classes,): the id in the data set of each class, :data:`OTHER` where it has none."""
        return np.append(self.dataset_ids, OTHER)[self.of_model]  # OTHER is the last one

    def of_dataset(self, size: int, other: int) -> np.ndarray:
        """Return (size,): the place in `names` of the data set's labels 0..size-1, `other` where one has none."""
        table = np.full(size, other, np.int64)
        table[self.dataset_ids] = np.arange(len(self.names))
        return table


def read_shared_classes(name: str, dataset_classes: Sequence[str], model_classes: Sequence[str]) -> SharedClasses:
    """Read which classes are shared.

    Args:
        name: path of a text file, or the name of one of ``icpc_d2/data/shared_classes/*.txt`` without its ending.
        dataset_classes, model_classes: all class names of both sides, by id, as the prompts say them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that cannot be read, a name that one side does not have, one of the model's given twice.
    """
    path = Path(name) if name.endswith(".txt") else SHARED_CLASSES / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SHARED_CLASSES.glob("*.txt")))
        raise FileNotFoundError(f"no list of shared classes {path}; there are {known}, or give the path of a .txt")
    pairs = []  # (the data set's name, the model's)
    for line in filter(str.strip, path.read_text(encoding="utf-8-sig").splitlines()):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) > 2 or not all(parts):
            raise ValueError(f"{path}: found {line!r}, wanted 'name' or 'name of the data set | name of the model'.")
        pairs.append((parts[0], parts[-1]))
    if not pairs:
        raise ValueError(f"{path}: found no class, wanted one a line.")
    theirs, ours = zip(*pairs, strict=True)
    for side, wanted, classes in (("data set", theirs, dataset_classes), ("model", ours, model_classes)):
        if unknown := [found for found in wanted if found not in classes]:
            raise ValueError(f"{path}: the {side} has no classes {unknown}; it has {', '.join(classes)}.")
    check_unique(path, "the model's names", ours)
    ids = sorted({list(dataset_classes).index(name) for name in theirs})
    names = [dataset_classes[index] for index in ids]
    of_model = np.full(len(model_classes), OTHER, np.int64)
    for name, model_name in pairs:
        of_model[list(model_classes).index(model_name)] = names.index(name)
    return SharedClasses(names, np.array(ids), np.flatnonzero(of_model != OTHER).tolist(), of_model)
