"""Text files of names: a line each, in UTF-8."""

import re
import unicodedata
from pathlib import Path


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file in UTF-8 that are not blank, with their numbers, as :func:`plain` text.

    Raises:
        ValueError: another encoding, or signs that cannot be seen.
        FileNotFoundError: no such file.
    """
    content = path.read_bytes()
    try:
        # "utf-8-sig": editors on Windows put an invisible mark in front, which would become part of the first name.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {number}: found the byte 0x{content[error.start]:02x}, which is no UTF-8: wanted a text "
            "file in this encoding. Open it in an editor and save it as UTF-8."
        ) from error
    lines = [(number, plain(line)) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]
    for number, line in lines:
        if hidden := [sign for sign in line if unicodedata.category(sign) in ("Cc", "Cf") and sign != "\t"]:
            what = f"U+{ord(hidden[0]):04X} ({unicodedata.name(hidden[0], 'a control character')})"
            raise ValueError(f"{path}, line {number}: found {what}, which nobody sees: remove it.")
    return [(number, line) for number, line in lines if line]


def plain(text: str) -> str:
    """Return a text in composed Unicode (NFC), with single blanks of the plain kind between words and tabs."""
    return re.sub(r"[^\S\t]+", " ", unicodedata.normalize("NFC", text)).strip()
