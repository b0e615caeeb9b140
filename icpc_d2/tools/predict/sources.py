"""The inputs of a prediction: images, folders, globs, videos and cameras, each with a name for its results."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from icpc_d2.data.folders import ENDINGS

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


class Source(NamedTuple):
    """One image, video or camera."""

    kind: str  # "image", "video" or "camera"
    place: str  # the path, or the camera's index
    name: str  # what its results are called, unique among all


def find_sources(inputs: Iterable[str]) -> tuple[list[Source], dict[str, str]]:
    """Resolve the command line's inputs.

    Args:
        inputs: each a file, a folder (its images and videos, without those of folders inside of it), a glob
            ("photos/**/*.jpg") or a camera's index ("0").

    Returns:
        What was found, each place once, and what was not: input -> the reason.
    """
    places: dict[str, str] = {}
    missing: dict[str, str] = {}
    for text in inputs:
        if text.isdecimal() and not Path(text).exists():
            places[text] = "camera"
            continue
        files = _files(text)
        places |= {str(file): "video" if file.suffix.lower() in VIDEO_ENDINGS else "image" for file in files}
        if not files:
            missing[text] = "there is no such file, and no image or video in such a folder or glob"
    names = unique_names([f"camera{place}" if kind == "camera" else place for place, kind in places.items()])
    return [Source(kind, place, name) for (place, kind), name in zip(places.items(), names, strict=True)], missing


def _files(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    return sorted(
        file
        for file in found
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() in (*ENDINGS, *VIDEO_ENDINGS)
    )


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
