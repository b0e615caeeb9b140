"""Plain text files of a data set's class names, colours and ids, and of those that a model of other classes shares.

A class list has one class a line, in the order of the training ids: ``name | r g b | other name | id``. Only the name
is needed.

- ``name`` is what the prompts say: plain English, unique.
- ``r g b`` is the display colour, 0..255. Label maps in colour are read by it.
- ``other name`` is what the data set or Detectron2 calls the class, where that differs; reports use it.
- ``id`` is what the data set's own label files call it; where it is not given, the training id.

A line ``ignore | r g b`` is no class: it is the colour of ignored pixels in label maps in colour.

A list of shared classes (the paper's Table 9) has one class a line, by the names that the prompts say: ``data set's
name | model's name``, or one name where both say the same. Several of the model's classes may be one of the data set's.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASS_LISTS = Path(__file__).parent / "classes"
SHARED_CLASSES = Path(__file__).parent / "shared_classes"
IGNORE = "ignore"
OTHER = -1  # place or id of a class that is not shared
Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set, by training id."""

    prompt_names: list[str]  # as the prompts say them, unique
    names: list[str]  # as reports show them, unique
    colors: list[Color]  # (r, g, b) of each class, 0..255; empty when the file gives none
    ids: list[int]  # of each class in the data set's own label files
    ignore_color: Color | None = None  # of ignored pixels in label maps in colour

    def __len__(self) -> int:
        return len(self.names)

    def color_table(self, ignore_label: int) -> dict[Color, int]:
        """Return colour -> training id, for label maps in colour; empty without colours.

        Raises:
            ValueError: two classes have one colour.
        """
        colors = [*self.colors, self.ignore_color] if self.colors and self.ignore_color else self.colors
        if twice := _repeated(colors):
            raise ValueError(f"label maps in colour need one colour for each class, found more than once: {twice}.")
        return dict(zip(colors, [*range(len(self)), ignore_label], strict=False))


def ignore_label_of(num_classes: int) -> int:
    """Return the label of ignored pixels: the largest of 8-bit files, or of 16-bit ones for more than 255 classes."""
    return int(np.iinfo(np.uint8 if num_classes <= 255 else np.uint16).max)


def read_class_list(name: str | Path) -> ClassList:
    """Read a class list.

    Args:
        name: path of a text file, or as a string the name of one of ``icpc_d2/data/classes/*.txt`` without its ending.

    Raises:
        ValueError: a line that cannot be read, a name given twice, colours or ids for some of the classes only.
        FileNotFoundError: no such file.
    """
    path = Path(name) if isinstance(name, Path) or name.endswith(".txt") else CLASS_LISTS / f"{name}.txt"
    # "utf-8-sig": editors on Windows put an invisible mark in front, which would become part of the first name.
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    rows = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line]
    ignore_color = next((color for name, _, color, _ in rows if name == IGNORE), None)
    rows = [row for row in rows if row[0] != IGNORE]
    if not rows:
        raise ValueError(f"{path}: found no class, wanted one a line.")
    columns = zip(*rows, strict=True)
    prompt_names, names, colors, ids = ([value for value in column if value is not None] for column in columns)
    for what, values in (("class names", prompt_names), ("other names", names), ("ids", ids)):
        _check_unique(path, what, values)
    for what, values in (("a colour", colors), ("an id", ids)):
        if len(values) not in (0, len(rows)):
            raise ValueError(f"{path}: {len(values)} of {len(rows)} classes have {what}; give all of them one or none.")
    return ClassList(prompt_names, names, colors, ids or list(range(len(rows))), ignore_color)


def _parse(line: str, where: str) -> tuple[str, str, Color | None, int | None]:
    """Return the name, the other name (the same, if there is none), the colour and the id of a class."""
    name, color, other, number, *rest = [field.strip() for field in line.split("|")] + [""] * 3
    values = color.split()
    good = name and not any(rest) and len(values) in (0, 3) and (not number or number.isdecimal())
    if not good or not all(v.isdecimal() and int(v) < 256 for v in values):
        raise ValueError(f"{where}: found {line!r}, wanted 'name', 'name | r g b' or 'name | r g b | other name | id'.")
    return name, other or name, tuple(int(v) for v in values) or None, int(number) if number else None


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
    _check_unique(path, "the model's names", ours)
    ids = sorted({list(dataset_classes).index(name) for name in theirs})
    names = [dataset_classes[index] for index in ids]
    of_model = np.full(len(model_classes), OTHER, np.int64)
    for name, model_name in pairs:
        of_model[list(model_classes).index(model_name)] = names.index(name)
    return SharedClasses(names, np.array(ids), np.flatnonzero(of_model != OTHER).tolist(), of_model)


def _check_unique(path: Path, what: str, values: Iterable) -> None:
    if repeated := _repeated(values):
        raise ValueError(f"{path}: {what} must be unique, found more than once: {', '.join(map(str, repeated))}.")


def _repeated(values: Iterable) -> list:
    return sorted(value for value, count in Counter(values).items() if count > 1)
