"""The inputs of a prediction: images, folders, globs, addresses, videos and cameras, each with a name for results."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from icpc_d2.data.pairing import ENDINGS
from icpc_d2.tools.predict.remote import is_remote, list_remote

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")

NOTHING = "there is no such file, and no image or video in such a folder or glob"


class Source(NamedTuple):
    """One image, video or camera."""

    kind: str  # "image", "video" or "camera"
    place: str  # the path, or the camera's index
    name: str  # what its results are called, unique among all


def find_sources(inputs: Iterable[str], listed: Iterable[str] = ()) -> tuple[list[Source], dict[str, str]]:
    """Resolve the command line's inputs.

    Args:
        inputs: each a file, a folder (its images and videos, without those of folders inside of it), a glob
            ("photos/**/*.jpg"), an address of these ("s3://bucket/photos") or a camera's index ("0").
        listed: files and addresses of files, which are not looked at: whether there is one shows when it is read.

    Returns:
        What was found, each place once, and what was not: input -> the reason.
    """
    places: dict[str, str] = {place: _kind_of(place) for place in listed}
    missing: dict[str, str] = {}
    for text in inputs:
        if is_remote(text):
            try:
                found = [place for place in list_remote(text) if place == text or _is_usable(place)]
            except OSError as error:
                missing[text] = str(error)
                continue
            places |= {place: _kind_of(place) for place in found}
            if not found:
                missing[text] = NOTHING
            continue
        if is_camera(text):
            places[text] = "camera"
            continue
        files = _files(text)
        places |= {str(file): _kind_of(str(file)) for file in files}
        if not files:
            missing[text] = NOTHING
    names = unique_names([f"camera{place}" if kind == "camera" else place for place, kind in places.items()])
    return [Source(kind, place, name) for (place, kind), name in zip(places.items(), names, strict=True)], missing


def read_list(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text in UTF-8, or holds none.
    """
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: found no line, wanted the path or the address of a file in each.")
    return lines


def is_camera(text: str) -> bool:
    """Tell a camera's index from a file that is called by a number."""
    return text.isdecimal() and not Path(text).exists()


def _kind_of(place: str) -> str:
    return "video" if place.lower().endswith(VIDEO_ENDINGS) else "image"


def _is_usable(place: str) -> bool:
    name = place.rpartition("/")[2].lower()
    return not name.startswith(".") and name.endswith((*ENDINGS, *VIDEO_ENDINGS))


def _files(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    return sorted(file for file in found if _is_usable(file.as_posix()) and file.is_file())


def unique_names(paths: Sequence[str]) -> list[str]:
    """Name each path by its stem, or where several have the same one, also by its folder, its ending, a number.

    Names that differ by case alone count as the same: on some systems their files would be.
    """
    names = [Path(path).stem for path in paths]
    for form in ("{1.parent.name}_{1.stem}", "{1.parent.name}_{1.stem}_{2}", "{1.parent.name}_{1.stem}_{2}_{0}"):
        counts = Counter(name.lower() for name in names)
        for index, path in enumerate(map(Path, paths)):
            if counts[names[index].lower()] > 1:
                names[index] = form.format(index + 1, path, path.suffix[1:])
    return names
