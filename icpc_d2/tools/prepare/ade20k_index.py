"""ADE20K's index, a pickle, of which arrays and plain data alone are read."""

import io
from pathlib import Path
from typing import Any

from icpc_d2.files import unpickle_arrays


def read_index(file: Path) -> dict[str, Any]:
    """Read ``index_ade20k.pkl``.

    Returns:
        Its dict; "folder" and "filename" have an entry for each picture, "objectnames" the names of the ids from 1 on.

    Raises:
        ValueError: the file is damaged, is another one, or holds more than data.
    """
    try:
        index = unpickle_arrays(io.BytesIO(file.read_bytes()))
        missing = {"folder", "filename", "objectnames"} - index.keys()
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{file}: wanted ADE20K's index, found a pickle that is refused: {error}") from error
    if missing:
        raise ValueError(f"{file}: wanted ADE20K's index, found one without {', '.join(sorted(missing))}.")
    return index
