"""Archives, of which only the needed files are unpacked, each whole or not at all, and never outside of a folder."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from icpc_d2.files import TEMPORARY, atomically


@dataclass(frozen=True)
class Archive:
    """A zip or tar file, possibly compressed, and what of it is needed."""

    pattern: str  # glob of the file, below the root of all data sets
    into: str  # folder below the root
    # top-level names to unpack: a member ``any/images/a.jpg`` with keep=("images",) goes to ``<into>/images/a.jpg``,
    # whatever folders the archive puts around it
    keep: tuple[str, ...]
    endings: tuple[str, ...] = ()  # of the members to unpack; empty: all

    def target(self, name: str) -> PurePosixPath | None:
        """Return the path below `into` of a member; None if it is not needed, or not trusted: it climbs upwards."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        start = next((index for index, part in enumerate(parts) if part in self.keep), None)
        if start is None or hidden or not name.endswith(self.endings or ""):
            return None
        return PurePosixPath(*parts[start:])


def unpack(archives: Sequence[Archive], root: Path, folder: str, mistaken: Mapping[str, str]) -> None:
    """Unpack those of the archives that lie below `root` or below `root / folder` and are not unpacked yet.

    Args:
        mistaken: glob of a name -> what it really is, to recognise archives of another data set under this one's name.

    Raises:
        ValueError: it is another data set's, or damaged.
    """
    for archive in archives:
        for file in sorted({*root.glob(archive.pattern), *(root / folder).glob(archive.pattern)}):
            marker = root / archive.into / f".{file.name}.unpacked"
            if not (marker.is_file() and marker.read_text() == str(file.stat().st_size)):
                _unpack(archive, file, root / archive.into, mistaken)
                with atomically(marker) as temporary:
                    temporary.write_text(str(file.stat().st_size))


def _unpack(archive: Archive, file: Path, into: Path, mistaken: Mapping[str, str]) -> None:
    for leftover in into.rglob(f"{TEMPORARY}*"):  # of runs that were killed
        leftover.unlink(missing_ok=True)
    try:
        with _members(file) as members:
            for name, size, read in tqdm(members, f"unpacking {file.name}", unit="files"):
                _refuse_mistaken(file, name, mistaken)
                target = archive.target(name)
                if target is None:
                    continue
                path = into / target
                if path.is_file() and path.stat().st_size == size:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with read() as source, atomically(path) as temporary, temporary.open("wb") as output:
                    shutil.copyfileobj(source, output)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ValueError(f"{file}: found a damaged archive ({error}). Download it again.") from error


@contextmanager
def _members(file: Path) -> Iterator[Iterator[tuple[str, int, Callable[[], IO[bytes]]]]]:
    """Open an archive; yield name, size and a function to read each of its regular files; links are left out."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            infos = (info for info in archive.infolist() if not info.is_dir())
            yield ((info.filename, info.file_size, partial(archive.open, info)) for info in infos)
        return
    with tarfile.open(file) as archive:
        yield ((info.name, info.size, partial(archive.extractfile, info)) for info in archive if info.isfile())


def _refuse_mistaken(file: Path, name: str, mistaken: Mapping[str, str]) -> None:
    for pattern, what in mistaken.items():
        if any(fnmatch(part, pattern) for part in PurePosixPath(name).parts):
            raise ValueError(f"{file} holds {name}: this is {what}, not the download that is wanted.")
