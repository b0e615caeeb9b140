"""Files that are whole or not there, pickles of which arrays alone are read, and names that differ in form alone."""

import importlib
import os
import pickle
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

TEMPORARY = ".tmp-"
# All that numpy's arrays and numbers are pickled with, in its old and new versions. None of it runs a file's own code.
_ARRAY_PARTS = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.{name}", part)
    for core in ("core", "_core")
    for name, part in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


@contextmanager
def atomically(target: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary name with the same ending; rename it to `target` if all goes well, else remove it.

    Args:
        durable: wait for the disk, so that the new content survives a loss of power.
    """
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, target)
        if durable:
            _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unpickle_arrays(file: BinaryIO, encoding: str = "ASCII") -> Any:
    """Read a pickle of numpy arrays and plain data, whose strings have `encoding` if Python 2 wrote them.

    Raises:
        pickle.UnpicklingError: it holds anything else; none of that is executed. Damaged bytes raise nearly anything.
    """
    return _ArrayUnpickler(file, encoding=encoding).load()


def array_globals() -> list[tuple[Any, str]]:
    """List (object, name) of all that numpy's arrays and numbers are pickled with, for torch's own safe reader."""
    found = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSUO"}
    named = [(kind, f"{kind.__module__}.{kind.__qualname__}") for kind in found]
    for module, name in _ARRAY_PARTS:
        # One release of numpy has "core", another "_core": files of either are read by both.
        for spelling in (module.replace(".core.", "._core."), module.replace("._core.", ".core.")):
            with suppress(ImportError, AttributeError):
                named.append((getattr(importlib.import_module(spelling), name), f"{module}.{name}"))
                break
    return named


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, wanted are arrays and plain data alone")
        return super().find_class(module, name)


def as_compared(name: str) -> str:
    """Return a class name without what it is not known by: case, Unicode form, blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()
