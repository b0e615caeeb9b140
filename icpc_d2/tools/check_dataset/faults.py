"""Faults of a data set of images and label maps, found file by file."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from icpc_d2.data.label_code import LabelCode, advice_on_ids
from icpc_d2.data.pairing import Pairing
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


# Why a file is in no pair -> the kind of the fault, and whether it is an error.
LEFT_OUT = {
    "images without a label map": ("image without label map", True),
    "label maps without an image": ("label map without image", True),
    "links that lead nowhere": ("link that leads nowhere", True),
    "files of kinds that are not read": ("file of another kind", False),
}
PREVIEWS = ("MPO",)  # whose further frames are a camera's previews


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
class Reading:
    """How the files of a data set are to be read."""

    names: Sequence[str]  # of the K classes, as the prompts say them
    code: LabelCode  # what label files mean
    value_range: Sequence[float] = ()  # of images of more than 8 bits
    synonyms: Sequence[Sequence[str]] = ()  # further names of each class


def inspect(pairing: Pairing, reading: Reading, workers: int = 1) -> Report:
    """Read every file of a data set, `workers` at a time."""
    report = Report(reading.names)
    report.faults += [*_faults_of_pairing(pairing), *faults_of_names([*reading.names, *chain(*reading.synonyms)])]
    pairs = pairing.pairs
    report.pairs = len(pairs)
    if not pairs:
        report.faults.append(Fault("no pairs", "-", "no image has a label map of the same name (without ending)"))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda pair: _inspect_pair(pair.image, pair.label, reading), pairs)
        for faults, counts in tqdm(results, "reading", total=len(pairs), disable=not pairs, unit="files"):
            report.faults += faults
            report.pixels += counts[:-1]
            report.images += counts[:-1] > 0
            report.ignored += int(counts[-1])
    for name, count in zip(report.names, report.pixels, strict=True):
        if not count:
            report.faults.append(Fault("class never seen", name, "no label map has a pixel of it", is_error=False))
    if pairs and len(found := np.flatnonzero(report.pixels)) < 2:
        seen = f"{report.names[found[0]]!r} alone" if len(found) else "no class"
        message = (
            f"the label maps show {seen}, and {report.ignored} pixels are ignored; 255 is, unless classes.txt gives it "
            "to a class: 'name | | | 255'"
        )
        report.faults.append(Fault("nothing to tell apart", "all label maps", message))
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


def _faults_of_pairing(pairing: Pairing) -> Iterable[Fault]:
    for reason, paths in pairing.left_out.items():
        kind, is_error = LEFT_OUT.get(reason, (reason, False))
        for path in paths:
            yield Fault(kind, str(path), "it will not be used", is_error)
    for twice in pairing.repeated:
        others = ", ".join(path.name for path in twice[1:])
        yield Fault("same name twice", str(twice[0]), f"{others} has the same name but for its ending")


def _inspect_pair(image: Path, label_map: Path, reading: Reading) -> tuple[list[Fault], np.ndarray]:
    """Return the faults of a pair, and pixels by class, (K + 1,), the last for what is ignored."""
    faults: list[Fault] = []
    size, num_classes, ignore_label = None, len(reading.names), reading.code.ignore_label
    warnings: list[str] = []
    try:
        size = read_image(str(image), value_range=reading.value_range, warn=warnings.append).shape[:2]
        faults += _peculiarities(image)
    except BadFileError as error:
        faults.append(Fault("unreadable image", str(image), str(error)))
    faults += [Fault("image too dark", str(image), warning, is_error=False) for warning in warnings]
    try:
        label = read_label(str(label_map), np.int64, reading.code)
    except BadFileError as error:
        faults.append(Fault("unreadable label map", str(label_map), str(error)))
        return faults, np.zeros(num_classes + 1, np.int64)
    if size is not None and size != label.shape:
        found, wanted = (" x ".join(map(str, shape)) for shape in (label.shape, size))
        faults.append(Fault("sizes differ", str(label_map), f"found {found} (height x width), its image has {wanted}"))
    ignored = label == ignore_label
    wrong = ~ignored & ((label < 0) | (label >= num_classes))
    if wrong.any():
        wanted = f"0..{num_classes - 1} or {ignore_label}"
        found = np.unique(label[wrong])[:10].tolist()
        message = f"found the ids {found} in {wrong.sum()} pixels, wanted {wanted}"
        message += advice_on_ids(label[wrong], num_classes)
        faults.append(Fault("ids out of range", str(label_map), message))
    elif ignored.all():
        faults.append(Fault("nothing labelled", str(label_map), "every pixel is ignored", is_error=False))
    counts = np.bincount(label[~ignored & ~wrong], minlength=num_classes)
    return faults, np.append(counts, np.count_nonzero(ignored))


def _peculiarities(file: Path) -> Iterable[Fault]:
    """Yield warnings about kinds of images that are rarely meant: they are converted to upright 8-bit RGB."""
    with Image.open(file) as image:
        mode, orientation = image.mode, image.getexif().get(EXIF_ORIENTATION, 1)
        frames = 1 if image.format in PREVIEWS else getattr(image, "n_frames", 1)
    if frames > 1:
        yield Fault("image of several frames", str(file), f"of {frames} the first one is used", is_error=False)
    if mode != "RGB":
        kind = MODES.get(mode, "16-bit" if mode.startswith("I") else f"of the kind {mode}")
        yield Fault(f"image {kind}", str(file), f"Pillow calls it {mode}; it is converted to RGB", is_error=False)
    if orientation not in (0, 1):
        message = f"EXIF orientation {orientation}; it is turned upright, and its label map must be upright too"
        yield Fault("image turned by EXIF", str(file), message, is_error=False)
