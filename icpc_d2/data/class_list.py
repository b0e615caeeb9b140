"""Class names, colours and original ids from plain text files.

One class a line, in the order of the training ids: ``name | r g b | other name | id``. Only the name is needed.

- ``name`` is what the prompts say: plain English, unique.
- ``r g b`` is the display colour, 0..255. Label maps in colour are read by it.
- ``other name`` is what the data set or Detectron2 calls the class, where that differs; reports use it.
- ``id`` is what the data set's own label files call it; where it is not given, the training id.

A line ``ignore | r g b`` is no class: it is the colour of ignored pixels in label maps in colour.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASS_LISTS = Path(__file__).parent / "classes"
IGNORE = "ignore"
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
        check_unique(path, what, values)
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


def check_unique(path: Path, what: str, values: Iterable) -> None:
    """Refuse a file that says something twice.

    Raises:
        ValueError: names the file, what the values are, and those that are repeated.
    """
    if repeated := _repeated(values):
        raise ValueError(f"{path}: {what} must be unique, found more than once: {', '.join(map(str, repeated))}.")


def _repeated(values: Iterable) -> list:
    return sorted(value for value, count in Counter(values).items() if count > 1)
