"""Pairs of images and label maps in two folders, and every file that is in none."""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")


class Pair(NamedTuple):
    """An image and its label map."""

    name: str  # that both have, with the folders inside of the two
    image: Path
    label: Path


@dataclass
class Found:
    """The files of one folder."""

    files: dict[str, list[Path]] = field(default_factory=dict)  # by the name that pairs them
    links: list[Path] = field(default_factory=list)  # that lead nowhere
    others: list[Path] = field(default_factory=list)  # of kinds that are not read
    without_suffix: list[Path] = field(default_factory=list)


@dataclass
class Pairing:
    """The pairs of two folders, and all other files."""

    pairs: list[Pair]  # in the order of their names
    left_out: dict[str, list[Path]]  # by the reason
    repeated: list[list[Path]]  # files of one name but for their endings


def pair_files(images: Path, labels: Path, suffixes: Sequence[str] = ()) -> Pairing:
    """Pair the files of two folders, and of the folders inside of them, by their names without ending.

    ``a.jpg`` pairs with ``a.png``, and with ``a.jpg.png`` too. Names are the same in every form of Unicode.

    Args:
        suffixes: of the images' and of the label maps' names, as "_leftImg8bit" and "_gtFine_labelIds".
    """
    image_suffix, label_suffix = suffixes or ("", "")
    found, marked = find_files(images, image_suffix), find_files(labels, label_suffix)
    label_files: dict[str, list[Path]] = {}
    for name, paths in marked.files.items():
        label_files.setdefault(_of_image(name, found.files), []).extend(paths)
    names = sorted(found.files.keys() & label_files.keys())
    left_out = {
        "images without a label map": _paths(found.files, label_files),
        "label maps without an image": _paths(label_files, found.files),
        "links that lead nowhere": [*found.links, *marked.links],
        "files of kinds that are not read": [*found.others, *marked.others],
        f"files without {image_suffix!r} or {label_suffix!r}": [*found.without_suffix, *marked.without_suffix],
    }
    return Pairing(
        [Pair(name, found.files[name][0], label_files[name][0]) for name in names],
        {reason: paths for reason, paths in left_out.items() if paths},
        [paths for files in (found.files, label_files) for paths in files.values() if len(paths) > 1],
    )


def find_files(folder: Path, suffix: str = "") -> Found:
    """Return the files of a folder and of those inside of it, but for hidden ones."""
    found = Found()
    for path in sorted(_walk(folder), key=lambda path: path.relative_to(folder).parts):
        stem = path.stem.removesuffix(suffix)
        if not path.name.lower().endswith(ENDINGS):
            found.others.append(path)
        elif not path.exists():
            found.links.append(path)
        elif suffix and stem == path.stem:
            found.without_suffix.append(path)
        else:
            name = unicodedata.normalize("NFC", (path.parent.relative_to(folder) / stem).as_posix())
            found.files.setdefault(name, []).append(path)
    return found


def guess_suffixes(images: Sequence[str], labels: Sequence[str]) -> tuple[str, str] | None:
    """Return what all names of images and all those of label maps end with, if they pair without it."""
    first, second = _common_end(images), _common_end(labels)
    if second.startswith(first):
        first, second = "", second.removeprefix(first)
    elif first.startswith(second):
        first, second = first.removeprefix(second), ""
    stems = {name.removesuffix(first) for name in images} & {name.removesuffix(second) for name in labels}
    return (first, second) if stems else None


def _common_end(names: Sequence[str]) -> str:
    columns = zip(*(name[::-1] for name in names), strict=False)
    return "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, columns))[::-1]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the visible files below a folder, through links to folders too, each folder once."""
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _of_image(label: str, images: Mapping[str, Sequence[Path]]) -> str:
    """Return the name of the image whose whole name, with ending, is that of a label map: "a" for "a.jpg"."""
    stem, ending = os.path.splitext(label)
    owners = [] if label in images or ending.lower() not in ENDINGS else images.get(stem, [])
    return stem if any(path.suffix == ending for path in owners) else label


def _paths(files: Mapping[str, Sequence[Path]], others: Mapping[str, Sequence[Path]]) -> list[Path]:
    return [path for name in sorted(files.keys() - others.keys()) for path in files[name]]
