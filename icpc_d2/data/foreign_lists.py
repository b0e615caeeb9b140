"""Class lists of other programs, which read as ours would give wrong names or wrong ids."""

import re
from collections.abc import Sequence
from pathlib import Path

# A word in the head of a table; those that are a head by themselves.
HEAD = re.compile(
    r"((class|train|label|category)_?)?(ids?|idx|index|names?)|class(es)?|labels?|categor(y|ies)|colou?rs?|rgb|[rgb]|"
    r"red|green|blue|hex|values?|ratio|train|val|stuff|other"
)
TITLES = ("name", "names", "class", "classes", "class_name", "class_names", "label", "labels")
MARKS = {"#": "a comment", "//": "a comment", "- ": "a list of YAML", "[": "JSON", "{": "JSON", "<": "XML"}
NUMBER = r"[-+]?\d+"
COLOR = r"(?P<r>\d{1,3})[ ,]+(?P<g>\d{1,3})[ ,]+(?P<b>\d{1,3})"
# "0: road", "1. road"; "0 road", which is foreign where each line has a number.
NUMBERED = re.compile(r"(?P<id>\d+)\s*[:=.)]\s*(?P<name>[^\d\s].*)")
COUNTED = re.compile(r"(?P<id>\d+)\s+(?P<name>[^\d\s].*)")
# "road 128 64 128", "road:128,64,128::", "128 64 128 road".
COLORED = re.compile(rf"(?P<name>[^|,;\t]*[^|,;\t\d\s:=])[ ,:=]+\(?{COLOR}\)?(::)?")
COLOR_FIRST = re.compile(rf"{COLOR}[ ,:=]+(?P<name>[^\d\s|].*)")
KEY = re.compile(r"(?P<name>[^|:=]*)[:=]\s*(?P<id>\d*),?")


def check_shape(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """Refuse lines of another program's file, each with the line that would be right here.

    Args:
        lines: number and text of each.

    Raises:
        ValueError: the head of a table, commas, semicolons or tabs between columns, numbers or colours without bars,
            quotation marks, YAML, JSON, comments.
    """
    pattern = COUNTED if all(COUNTED.fullmatch(line) for _, line in lines) and len(lines) > 1 else NUMBERED
    are_quoted = all(len(line) > 2 and line[0] in "\"'" and line.rstrip(",")[-1] == line[0] for _, line in lines)
    for index, (number, line) in enumerate(lines):
        what, right = _of_mark(line) if index or not _is_head(line) else ("the head of a table", "")
        if not what and "|" not in line.partition(" ")[0]:
            what, right = _of_numbers(line, pattern)
        if not what and are_quoted:
            what, right = "quotation marks", _clean(line)
        if what:
            here = f"write {right!r}" if right else "leave this line out"
            raise ValueError(
                f"{path}, line {number}: found {line!r}, {what}; wanted is a class a line, 'name' or 'name | r g b | "
                f"other name | id'. Here: {here}."
            )


def _is_head(line: str) -> bool:
    words = [cell.strip(" \"'").casefold().replace(" ", "_") for cell in re.split(r"[,;\t|]", line)]
    return words[0] in TITLES if len(words) == 1 else all(HEAD.fullmatch(word) for word in words)


def _of_mark(line: str) -> tuple[str, str]:
    """Return what the first sign of a line gives away, and the line that would be right; twice "" for nothing."""
    what = next((what for mark, what in MARKS.items() if line.startswith(mark)), "")
    if what:
        return what, "" if what == "a comment" else _clean(line)
    if re.fullmatch(r"_+\w+_+", line):  # labelme's __ignore__ is -1, which is saved as 255
        return "a name of labelme's", "" if "ignore" in line else _clean(line)
    return "", ""


def _of_numbers(line: str, numbered: re.Pattern) -> tuple[str, str]:
    """Return what numbers in a line give away, as :func:`_of_mark`."""
    name, bar, _ = line.partition("|")
    name, cells = name.strip(), [cell.strip(" \"'") for cell in re.split(r"[,;\t]", line)]
    if re.fullmatch(NUMBER, name):
        return "a number in the place of a name", "the name of the class in words"
    if match := COLORED.fullmatch(name) or COLOR_FIRST.fullmatch(name):
        return "a colour without bars", f"{_clean(match['name'])} | {match['r']} {match['g']} {match['b']}"
    has_numbers = any(re.fullmatch(NUMBER + r"|#[0-9a-fA-F]{6}", cell) for cell in cells)
    if re.search(r"[;\t]", name) or (has_numbers and not bar):
        return "a table with other separators", _of_cells(cells)
    if (match := NUMBERED.fullmatch(name) or numbered.fullmatch(name) or KEY.fullmatch(name)) and match["id"]:
        return "a number beside the name", f"{_clean(match['name'])} | | | {match['id']}"
    return ("a key", "") if match else ("", "")


def _of_cells(cells: Sequence[str]) -> str:
    """Return the line of a class from a row of a table: its first word as name, one number as id, three as colour."""
    names = [cell for cell in cells if cell and not re.fullmatch(r"[-+]?[\d.]+|#\w{6}", cell)]
    numbers = [cell for cell in cells if cell.isdecimal()]
    color = " ".join(numbers[-3:]) if len(numbers) >= 3 else ""
    number = f" | | {numbers[0]}" if len(numbers) in (1, 4) else ""
    return f"{_clean(names[0]) if names else 'name'} | {color}{number}".replace("  ", " ").removesuffix(" | ")


def _clean(name: str) -> str:
    return re.sub(r"^[-\[{<\s\"']+|[\]}>,:;\s\"']+$", "", name).replace("_", " ").strip()
