"""What the demo is pointed at: pictures, folders, globs, videos and cameras, each with a name for its results."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from icpc_d2.data.folders import ENDINGS

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


class Source(NamedTuple):
    """One picture, video or camera.

    Attributes:
        kind: "picture", "video" or "camera".
        place: the path, or the camera's index.
        name: what its results are called, unique among all.
    """

    kind: str
    place: str
    name: str


def find_sources(inputs: Iterable[str]) -> tuple[list[Source], dict[str, str]]:
    """Resolve the command line's inputs.

    Args:
        inputs: each a file, a folder (its pictures and videos, without those of folders inside of it), a glob
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
        places |= {str(file): "video" if file.suffix.lower() in VIDEO_ENDINGS else "picture" for file in files}
        if not files:
            missing[text] = "there is no such file, and no picture or video in such a folder or glob"
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
    """A name for each path: its stem, or where several have the same one, with its folder, its ending, a number.

    Names that differ by case alone count as the same: on some systems their files would be.
    """
    paths = list(map(Path, paths))
    names = [path.stem for path in paths]
    for longer in (
        lambda number, path: f"{path.parent.name}_{path.stem}",
        lambda number, path: f"{path.parent.name}_{path.stem}_{path.suffix[1:]}",
        lambda number, path: f"{path.parent.name}_{path.stem}_{path.suffix[1:]}_{number}",
    ):
        counts = Counter(name.lower() for name in names)
        names = [
            longer(number, path) if counts[name.lower()] > 1 else name
            for number, (path, name) in enumerate(zip(paths, names, strict=True), start=1)
        ]
    return names
