"""ADE20K's index, a pickle, read without executing what it might hold."""

import io
import pickle
from pathlib import Path
from typing import Any

# What arrays of numbers and strings are pickled with, in old and in new versions of numpy. None of it runs code that
# the file brings along.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything but :data:`ALLOWED`."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}, which plain data does not need")
        return super().find_class(module, name)


def read_index(file: Path) -> dict[str, Any]:
    """Read ``index_ade20k.pkl``.

    Returns:
        Its dict; "folder" and "filename" have an entry for each picture, "objectnames" the names of the ids from 1 on.

    Raises:
        ValueError: the file is damaged, is another one, or holds more than data.
    """
    try:
        index = _DataUnpickler(io.BytesIO(file.read_bytes())).load()
        missing = {"folder", "filename", "objectnames"} - index.keys()
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{file}: wanted ADE20K's index, found a pickle that is refused: {error}") from error
    if missing:
        raise ValueError(f"{file}: wanted ADE20K's index, found one without {', '.join(sorted(missing))}.")
    return index
