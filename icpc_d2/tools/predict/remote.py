"""Inputs at addresses such as ``s3://bucket/photos/*.jpg``, by fsspec.

fsspec needs a package for most kinds of addresses (s3fs for ``s3://``, gcsfs for ``gs://``, aiohttp for ``https://``)
and says which one is missing.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import PurePosixPath

import fsspec


def is_remote(text: str) -> bool:
    """Tell an address from a path."""
    return "://" in text


def list_remote(address: str) -> list[str]:
    """Return the address of a file, those of the files in a folder, or those that match a glob, by name.

    Raises:
        OSError: it cannot be looked at; says why.
    """
    with _said(address):
        files, path = fsspec.url_to_fs(address)
        if has_magic(path):
            found = files.glob(path)
        elif files.isdir(path):
            found = files.ls(path, detail=False)
        else:
            found = [path] if files.exists(path) else []
        return sorted(files.unstrip_protocol(file) for file in found if files.isfile(file))


@contextmanager
def local_copy(place: str) -> Iterator[str]:
    """Yield the path of a file as it is, or of a temporary copy where it is an address.

    Raises:
        OSError: it cannot be fetched; says why.
    """
    if not is_remote(place):
        yield place
        return
    with tempfile.NamedTemporaryFile(suffix=PurePosixPath(place).suffix) as copy:
        with _said(place), fsspec.open(place, "rb") as remote:
            shutil.copyfileobj(remote, copy)
        copy.flush()
        yield copy.name


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn whatever the many kinds of storage raise into an error that names the address."""
    try:
        yield
    except Exception as error:
        raise OSError(f"{address}: {type(error).__name__}: {error}") from error
