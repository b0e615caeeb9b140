"""Faults of a data set of images and label maps, found file by file."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from icpc_d2.data.reading import BadFileError, read_image, read_label
from icpc_d2.modeling.text.class_tokens import ClassTokens

# CLIP's context, and what the paper's prompt takes of it: eight learned vectors and the instance's.
CONTEXT_LENGTH, NUM_CONTEXT = 77, 9
EXIF_ORIENTATION = 274
# Modes of Pillow that are read as they are; the others are converted, which is worth a look.
MODES = {
    "L": "grey",
    "LA": "grey with transparency",
    "1": "black and white",
    "P": "of a palette",
    "RGBA": "with transparency",
    "CMYK": "CMYK",
}


@dataclass(frozen=True)
class Fault:
    """A fault of a data set."""

    kind: str  # what, in a few words, the same for all of its kind
    where: str  # the file, or the class
    message: str  # what was found and what was wanted
    is_error: bool = True  # False: a warning; training goes on with it


@dataclass
class Report:
    """The content and the faults of a data set of K classes."""

    names: Sequence[str] = ()  # of the classes, as the prompts say them
    faults: list[Fault] = field(default_factory=list)  # everything that is wrong
    pairs: int = 0  # number of images with a label map
    pixels: np.ndarray = field(init=False)  # (K,) int64, labelled pixels of each class
    images: np.ndarray = field(init=False)  # (K,) int64, images that show each class
    ignored: int = 0  # number of ignored pixels

    def __post_init__(self) -> None:
        self.pixels, self.images = np.zeros((2, len(self.names)), np.int64)


@dataclass(frozen=True)
class Labels:
    """The classes of label maps, and how these are to be read."""

    names: Sequence[str]  # of the K classes, as the prompts say them; ids are 0..K-1 or `ignore_label`
    ignore_label: int = 255
    colors: Mapping[tuple[int, int, int], int] | None = None  # (r, g, b) -> id, for label images in colour


def inspect(
    images: Mapping[str, Sequence[Path]], label_maps: Mapping[str, Sequence[Path]], labels: Labels, workers: int = 1
) -> Report:
    """Read every file of a data set.

    Args:
        images, label_maps: files by their stems, by which they pair.
        workers: files that are read at a time.
    """
    report = Report(labels.names)
    report.faults += [*_faults_of_pairing(images, label_maps), *faults_of_names(labels.names)]
    pairs = [(images[stem][0], label_maps[stem][0]) for stem in sorted(images.keys() & label_maps.keys())]
    report.pairs = len(pairs)
    if not pairs:
        report.faults.append(Fault("no pairs", "-", "no image has a label map of the same name (without ending)"))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda pair: _inspect_pair(*pair, labels), pairs)
        for faults, counts in tqdm(results, "reading", total=len(pairs), disable=not pairs, unit="files"):
            report.faults += faults
            report.pixels += counts[:-1]
            report.images += counts[:-1] > 0
            report.ignored += int(counts[-1])
    for name, count in zip(report.names, report.pixels, strict=True):
        if not count:
            report.faults.append(Fault("class never seen", name, "no label map has a pixel of it", is_error=False))
    return report


def faults_of_names(names: Sequence[str]) -> Iterable[Fault]:
    """Yield the class names that CLIP cannot use: too long, without text, or read alike."""
    if not _complaint(names):
        return
    known: list[str] = []
    for name in names:
        complaint = _complaint([*known, name])
        if complaint:
            yield Fault("class name", name, complaint)
        else:
            known.append(name)


def _complaint(names: Sequence[str]) -> str:
    try:
        ClassTokens(names, "{}", CONTEXT_LENGTH, NUM_CONTEXT)
    except ValueError as error:
        return str(error)
    return ""


def _faults_of_pairing(
    images: Mapping[str, Sequence[Path]], label_maps: Mapping[str, Sequence[Path]]
) -> Iterable[Fault]:
    for stem in sorted(images.keys() - label_maps.keys()):
        yield Fault("image without label map", str(images[stem][0]), "it will not be used")
    for stem in sorted(label_maps.keys() - images.keys()):
        yield Fault("label map without image", str(label_maps[stem][0]), "it will not be used")
    for files in (images, label_maps):
        for twice in (paths for paths in files.values() if len(paths) > 1):
            others = ", ".join(path.name for path in twice[1:])
            yield Fault("same name twice", str(twice[0]), f"{others} has the same name but for its ending")


def _inspect_pair(image: Path, label_map: Path, labels: Labels) -> tuple[list[Fault], np.ndarray]:
    """Return the faults of a pair, and pixels by class, (K + 1,), the last for what is ignored."""
    faults: list[Fault] = []
    size, num_classes = None, len(labels.names)
    try:
        size = read_image(str(image)).shape[:2]
        faults += _peculiarities(image)
    except BadFileError as error:
        faults.append(Fault("unreadable image", str(image), str(error)))
    try:
        label = read_label(str(label_map), np.int64, labels.colors)
    except BadFileError as error:
        faults.append(Fault("unreadable label map", str(label_map), str(error)))
        return faults, np.zeros(num_classes + 1, np.int64)
    if size is not None and size != label.shape:
        found, wanted = (" x ".join(map(str, shape)) for shape in (label.shape, size))
        faults.append(Fault("sizes differ", str(label_map), f"found {found} (height x width), its image has {wanted}"))
    ignored = label == labels.ignore_label
    wrong = ~ignored & ((label < 0) | (label >= num_classes))
    if wrong.any():
        wanted = f"0..{num_classes - 1} or {labels.ignore_label}"
        found = np.unique(label[wrong])[:10].tolist()
        message = f"found the ids {found} in {wrong.sum()} pixels, wanted {wanted}"
        faults.append(Fault("ids out of range", str(label_map), message))
    elif ignored.all():
        faults.append(Fault("nothing labelled", str(label_map), "every pixel is ignored", is_error=False))
    counts = np.bincount(label[~ignored & ~wrong], minlength=num_classes)
    return faults, np.append(counts, np.count_nonzero(ignored))


def _peculiarities(file: Path) -> Iterable[Fault]:
    """Yield warnings about kinds of images that are rarely meant: they are converted to upright 8-bit RGB."""
    with Image.open(file) as image:
        mode, orientation = image.mode, image.getexif().get(EXIF_ORIENTATION, 1)
    if mode != "RGB":
        kind = MODES.get(mode, "16-bit" if mode.startswith("I") else f"of the kind {mode}")
        yield Fault(f"image {kind}", str(file), f"Pillow calls it {mode}; it is converted to RGB", is_error=False)
    if orientation not in (0, 1):
        message = f"EXIF orientation {orientation}; it is turned upright, and its label map must be upright too"
        yield Fault("image turned by EXIF", str(file), message, is_error=False)
