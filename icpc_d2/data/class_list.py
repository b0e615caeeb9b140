"""Plain text files of a data set's class names, colours and ids, and of those that a model of other classes shares.

A class list has one class a line, in the order of the training ids: ``name | r g b | other name | id``. Only the name
is needed.

- ``name`` is what the prompts say: plain English, unique. Further names of a class follow behind commas, ``boat,
  ship``; a name that holds a comma stands in quotation marks.
- ``r g b`` is the display colour, 0..255. Label maps in colour are read by it.
- ``other name`` is what the data set or Detectron2 calls the class, where that differs; reports use it.
- ``id`` is the value of the class in the data set's own label files. Where none is given, classes are numbered 0, 1, 2,
  ... by their lines, values of ``ignore`` lines left out.

A line ``ignore | r g b | | id`` is no class: it is a colour, a value, or both, of ignored pixels in label files. There
may be several.

A list of shared classes (the paper's Table 9) has one class a line, by the names that the prompts say: ``data set's
name | model's name``, or one name where both say the same. Several of the model's classes may be one of the data set's.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icpc_d2.data.foreign_lists import check_shape
from icpc_d2.data.label_code import Color, LabelCode
from icpc_d2.data.list_text import plain, read_lines
from icpc_d2.data.synonyms import split_synonyms

CLASS_LISTS = Path(__file__).parent / "classes"
SHARED_CLASSES = Path(__file__).parent / "shared_classes"
IGNORE = "ignore"
OTHER = -1  # place or id of a class that is not shared
MAX_ID = 65535  # of label files


class Line(NamedTuple):
    """A line of a class list."""

    name: str  # as the prompts say it, or `IGNORE`
    other: str  # as reports show it
    color: Color | None  # (r, g, b), 0..255
    id: int | None  # in the data set's own label files
    synonyms: tuple[str, ...] = ()  # further names for prompts


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set, by training id."""

    prompt_names: list[str]  # as the prompts say them, unique
    names: list[str]  # as reports show them, unique
    colors: list[Color]  # (r, g, b) of each class, 0..255; empty when the file gives none
    ids: list[int]  # of each class in the data set's own label files
    ignored: Sequence[Line] = ()  # lines that name ignored pixels
    has_ids: bool = False  # the file says what is called what in label files
    synonyms: Sequence[tuple[str, ...]] = ()  # further names of each class for prompts; empty where none has any

    def __len__(self) -> int:
        return len(self.names)

    @property
    def all_names(self) -> list[tuple[str, ...]]:
        """All names of each class for prompts."""
        return [(name, *more) for name, more in zip_longest(self.prompt_names, self.synonyms, fillvalue=())]

    def label_code(self, ignore_label: int) -> LabelCode:
        """Return how label files are to be read, which become class ids and `ignore_label`."""
        values = dict(zip(self.ids, range(len(self)), strict=True)) if self.has_ids else {}
        values |= {line.id: ignore_label for line in self.ignored if line.id is not None}
        owners: dict[Color, list[int]] = {}
        for index, color in enumerate(self.colors):
            owners.setdefault(color, []).append(index)
        for line in self.ignored:
            if line.color is not None and self.colors:
                owners.setdefault(line.color, []).append(ignore_label)
        return LabelCode(
            len(self),
            ignore_label,
            values,
            {color: ids[0] for color, ids in owners.items() if len(ids) == 1},
            {color: ids for color, ids in owners.items() if len(ids) > 1},
        )


def ignore_label_of(num_classes: int) -> int:
    """Return the label of ignored pixels: the largest of 8-bit files, or of 16-bit ones for more than 255 classes."""
    return int(np.iinfo(np.uint8 if num_classes <= 255 else np.uint16).max)


def read_class_list(name: str | Path) -> ClassList:
    """Read a class list.

    Args:
        name: path of a text file, or as a string the name of one of ``icpc_d2/data/classes/*.txt`` without its ending.

    Raises:
        ValueError: a line that cannot be read or looks like one of another kind of file, a name given twice, colours or
            ids for some of the classes only.
        FileNotFoundError: no such file.
    """
    path = Path(name) if isinstance(name, Path) or name.endswith(".txt") else CLASS_LISTS / f"{name}.txt"
    lines = read_lines(path)
    check_shape(path, lines)
    found = [(number, _parse(text, f"{path}, line {number}")) for number, text in lines]
    rows = [line for _, line in found if line.name != IGNORE]
    ignored = [line for _, line in found if line.name == IGNORE]
    if not rows:
        raise ValueError(f"{path}: found no class, wanted one a line.")
    columns = zip(*rows, strict=True)
    prompt_names, names, colors, ids, more = ([value for value in column if value is not None] for column in columns)
    for what, values in (("class names", prompt_names), ("other names", names)):
        _check_unique(path, what, values, key=lambda value: plain(value).casefold())
    _check_unique(path, "ids", [*ids, *(line.id for line in ignored if line.id is not None)])
    for what, values in (("a colour", colors), ("an id", ids)):
        if len(values) not in (0, len(rows)):
            raise ValueError(f"{path}: {len(values)} of {len(rows)} classes have {what}; give all of them one or none.")
    _check_ignored(path, found, has_colors=bool(colors), has_ids=bool(ids))
    left_out = {line.id for line in ignored}
    numbers = (number for number in range(len(rows) + len(ignored)) if number not in left_out)
    has_ids = bool(ids or left_out - {None})
    synonyms = more if any(more) else ()
    return ClassList(prompt_names, names, colors, ids or [next(numbers) for _ in rows], ignored, has_ids, synonyms)


def _parse(text: str, where: str) -> Line:
    name, color, other, number, *rest = [field.strip() for field in text.split("|")] + [""] * 3
    values = color.split()
    good = name and not any(rest) and len(values) in (0, 3) and (not number or number.isdecimal())
    if not good or not all(v.isdecimal() and int(v) < 256 for v in values) or int(number or 0) > MAX_ID:
        raise ValueError(
            f"{where}: found {text!r}, wanted 'name', 'name | r g b' or 'name | r g b | other name | id', colours of "
            f"0..255, ids of 0..{MAX_ID}."
        )
    try:
        name, *more = split_synonyms(name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    name = IGNORE if name.casefold() == IGNORE and not more else name
    color, number = tuple(int(v) for v in values) or None, int(number) if number else None
    return Line(name, other or name, color, number, tuple(more))


def _check_ignored(path: Path, found: Sequence[tuple[int, Line]], has_colors: bool, has_ids: bool) -> None:
    """Refuse an ``ignore`` that may be meant as a class, or as one of the numbers that lines stand for."""
    last = max(number for number, line in found if line.name != IGNORE)
    for number, line in found:
        if line.name != IGNORE:
            continue
        where = f"{path}, line {number}: '{IGNORE}'"
        by_id = f"'{IGNORE} | | | {number - 1}' (the value of ignored pixels in label files)"
        if line.color is None and line.id is None:
            raise ValueError(
                f"{where} is no class, and has neither colour nor id: wanted {by_id} or '{IGNORE} | r g b' (their "
                "colour), or no such line where 255 is ignored. If it is a class, give it another name."
            )
        if line.id is None and not has_ids and number < last:
            raise ValueError(
                f"{where} stands among the classes, whose numbers are their lines: does it count? Wanted {by_id} if "
                "label files have ids; if they have colours, move it to the end."
            )
        if line.id is None and not has_colors:
            raise ValueError(f"{where} has a colour, but the classes have none: give them colours, or it an id.")


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
    for _, line in read_lines(path):
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


def _check_unique(path: Path, what: str, values: Sequence, key: Callable[[Any], Any] = lambda value: value) -> None:
    counts = Counter(key(value) for value in values)
    if repeated := sorted({value for value in values if counts[key(value)] > 1}):
        differing = len(set(values)) == len(values)
        by = " (they differ by case, blanks or Unicode form alone, which CLIP does not see)" if differing else ""
        raise ValueError(f"{path}: {what} must be unique, found more than once: {', '.join(map(str, repeated))}{by}.")
