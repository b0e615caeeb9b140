"""Class names and colours from plain text files.

One class a line, in the order of the training ids: ``name``, ``name | r g b`` or ``name | r g b | other name``.

- ``name`` is what the prompts say: plain English, unique.
- ``r g b`` is the display colour, 0..255.
- ``other name`` is what the data set or Detectron2 calls the class, where that differs; reports use it.
"""

from dataclasses import dataclass
from pathlib import Path

CLASS_LISTS = Path(__file__).parent / "classes"


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set, by training id.

    Attributes:
        prompt_names: names as the prompts say them, unique.
        names: names as reports show them.
        colors: (r, g, b) of each class, 0..255; empty when the file gives none.
    """

    prompt_names: list[str]
    names: list[str]
    colors: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return len(self.names)


def read_class_list(name: str | Path) -> ClassList:
    """Read a class list.

    Args:
        name: path of a text file, or the name of one of ``icpc_d2/data/classes/*.txt`` without its ending.

    Raises:
        ValueError: a line that cannot be read, a name given twice, colours for some of the classes only.
    """
    path = Path(name) if str(name).endswith(".txt") else CLASS_LISTS / f"{name}.txt"
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line]
    prompt_names = [prompt_name for prompt_name, _, _ in rows]
    repeated = sorted({n for n in prompt_names if prompt_names.count(n) > 1})
    if repeated:
        raise ValueError(f"{path}: class names must be unique, found more than once: {', '.join(repeated)}.")
    colors = [color for _, color, _ in rows if color is not None]
    if len(colors) not in (0, len(rows)):
        raise ValueError(f"{path}: {len(colors)} of {len(rows)} classes have a colour; give all of them one, or none.")
    return ClassList(prompt_names, [other or prompt_name for prompt_name, _, other in rows], colors)


def _parse(line: str, where: str) -> tuple[str, tuple[int, int, int] | None, str]:
    """Split a line into prompt name, colour or None, other name or ""."""
    name, color, other, *rest = [field.strip() for field in line.split("|")] + [""] * 2
    values = color.split()
    if not name or any(rest) or len(values) not in (0, 3) or not all(v.isdecimal() and int(v) < 256 for v in values):
        raise ValueError(f"{where}: found {line!r}, wanted 'name', 'name | r g b' or 'name | r g b | other name'.")
    return name, tuple(int(v) for v in values) or None, other
