"""iSAID, 15 classes and background: ``iSAID/{train,val}/images`` -> ``iSAID/*_detectron2``, whole or in tiles.

The official label maps ``*_instance_color_RGB.png`` have a colour for each class. The aerial images have sides of up
to 13,000 pixels; training is usual on tiles of 896 that overlap by 384.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.reading import read_image, read_label
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy
from icpc_d2.tools.prepare.recipe import Files, Preparation, Split, Task
from icpc_d2.tools.prepare.run import run

OFFICIAL_COUNTS = {"train": 1411, "val": 458}
LABEL = "_instance_color_RGB.png"
CLASSES = read_class_list("isaid_16")
PAD_PIXEL, IGNORE_LABEL = 0, 255
CODE = CLASSES.label_code(IGNORE_LABEL)

Box = tuple[int, int, int, int]  # top, bottom, left, right


def boxes_of(height: int, width: int, tile: int, overlap: int) -> list[Box]:
    """Return tiles of equal size that cover an image; the last of a row or column is moved back inside.

    An image that is smaller than a tile has one, which reaches beyond it.
    """

    def starts(length: int) -> list[int]:
        last = max(length - tile, 0)
        return [*range(0, last, tile - overlap), last]

    return [(y, y + tile, x, x + tile) for y, x in product(starts(height), starts(width))]


def cut(array: np.ndarray, box: Box, padding: int) -> np.ndarray:
    """Cut the box out of (H, W, ...), padded at the right and at the bottom where it reaches beyond."""
    top, bottom, left, right = box
    part = array[top:bottom, left:right]
    missing = (bottom - top - part.shape[0], right - left - part.shape[1])
    return np.pad(part, [(0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)], constant_values=padding)


def read_colors(file: Path, dtype: type = np.int64) -> np.ndarray:
    """Read a label map in iSAID's colours: (H, W), 0..15."""
    return read_label(str(file), dtype, CODE)


def write_tiles(
    source: Path, *targets: Path, boxes: list[Box], read: Callable[[Path], np.ndarray], padding: int
) -> None:
    """Write the tiles of an image or a label map."""
    array = read(source)
    for box, target in zip(boxes, targets, strict=True):
        Image.fromarray(cut(array, box, padding)).save(target)


@dataclass(frozen=True)
class TiledFiles(Files):
    """Files whose `convert` takes ``boxes``, too, and writes one for each, ``<stem>_<top>_<bottom>_<left>_<right>``."""

    tile: int = 0  # in pixels
    overlap: int = 0

    def task_of(self, file: Path) -> Task:
        """Return the task to make all tiles of a file."""
        with Image.open(file) as image:
            boxes = boxes_of(image.height, image.width, self.tile, self.overlap)
        targets = tuple(self.target_of(file, f"_{'_'.join(map(str, box))}") for box in boxes)
        return Task(file, targets, partial(self.convert, boxes=boxes))


def isaid_splits(root: Path, tile: int = 0, overlap: int = 0) -> Iterator[Split]:
    """Yield the splits of iSAID below `root`.

    Args:
        tile: side of the tiles; 0: whole images.
        overlap: of the tiles, less than `tile`.
    """
    folder, kind = root / "iSAID", "_tiles" * bool(tile)
    if tile:
        make = partial(TiledFiles, tile=tile, overlap=overlap)
        image = partial(write_tiles, read=lambda file: read_image(str(file)), padding=PAD_PIXEL)
        label = partial(write_tiles, read=partial(read_colors, dtype=np.uint8), padding=IGNORE_LABEL)
    else:
        make, image = Files, link_or_copy
        label = partial(convert_label, table=id_table(CLASSES, [IGNORE_LABEL]), read=read_colors)
    for name, count in OFFICIAL_COUNTS.items():
        source = folder / name / "images"
        labels = make(source, folder / f"annotations{kind}_detectron2" / name, f"*{LABEL}", label)
        stems = [file.name.removesuffix(LABEL) for file in labels.found()]
        images = make(source, folder / f"images{kind}_detectron2" / name, "*.png", image, stems=stems)
        yield Split(name, images, labels, len(CLASSES), None if tile else count)


ISAID = Preparation(
    name="iSAID (15 classes and background)",
    folder="iSAID",
    page="https://captain-whu.github.io/iSAID/dataset.html (labels) and\n"
    "  https://captain-whu.github.io/DOTA/dataset.html (images: DOTA-v1.0)",
    archive="the images part*.zip and the labels Semantic_masks/images.zip of train and val (some 20 GB)",
    splits=isaid_splits,
    archives=tuple(
        archive
        for split in OFFICIAL_COUNTS
        for archive in (
            Archive(f"iSAID/{split}/images/part*.zip", f"iSAID/{split}", ("images",), (".png",)),
            Archive(f"iSAID/{split}/Semantic_masks/images.zip", f"iSAID/{split}", ("images",), (LABEL,)),
        )
    ),
    mistaken={"Instance_masks": "iSAID's masks of instances"},
)


def prepare_isaid(args: Namespace) -> int:
    """Run the recipe with the tiles that the command line asks for; return the exit status."""
    with huge_images():
        return run(replace(ISAID, splits=partial(isaid_splits, tile=args.tile, overlap=args.overlap)), args)


@contextmanager
def huge_images() -> Iterator[None]:
    """Let Pillow read the largest images, which it would take for an attack, in here alone."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
