"""iSAID, 15 classes and background: ``iSAID/{train,val}/images`` -> ``iSAID/*_detectron2``, whole or in tiles.

The official label maps ``*_instance_color_RGB.png`` have a colour for each class. The aerial pictures have sides of up
to 13,000 pixels; training is usual on tiles of 896 that overlap by 384.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.reading import read_image, read_label
from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import convert_label, id_table, link_or_copy, save_label
from icpc_d2.tools.prepare.recipe import Preparation, Split, Task, make_parser, run, tasks_of_files

OFFICIAL_COUNTS = {"train": 1411, "val": 458}
LABEL = "_instance_color_RGB.png"
CLASSES = read_class_list("isaid_16")
COLORS = CLASSES.color_table(255)
PAD_PIXEL, IGNORE_LABEL = 0, 255

Box = tuple[int, int, int, int]  # top, bottom, left, right


def boxes_of(height: int, width: int, tile: int, overlap: int) -> list[Box]:
    """Tiles of equal size that cover a picture; the last of a row or column is moved back inside.

    A picture that is smaller than a tile has one, which reaches beyond it.
    """

    def starts(length: int) -> list[int]:
        last = max(length - tile, 0)
        return [*range(0, last, tile - overlap), last]

    return [(y, y + tile, x, x + tile) for y, x in product(starts(height), starts(width))]


def cut(array: np.ndarray, box: Box, padding: int) -> np.ndarray:
    """The part of (H, W, ...) in the box, padded at the right and at the bottom."""
    top, bottom, left, right = box
    part = array[top:bottom, left:right]
    missing = (bottom - top - part.shape[0], right - left - part.shape[1])
    return np.pad(part, [(0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)], constant_values=padding)


def read_colors(file: Path) -> np.ndarray:
    """Read a label map in iSAID's colours, (H, W) int64, 0..15."""
    return read_label(str(file), colors=COLORS)


def tile_image(source: Path, *targets: Path, boxes: list[Box]) -> None:
    """Write the tiles of a picture."""
    image = read_image(str(source))
    for box, target in zip(boxes, targets, strict=True):
        Image.fromarray(cut(image, box, PAD_PIXEL)).save(target)


def tile_label(source: Path, *targets: Path, boxes: list[Box]) -> None:
    """Write the tiles of a label map as ids."""
    label = read_colors(source)
    for box, target in zip(boxes, targets, strict=True):
        save_label(cut(label, box, IGNORE_LABEL), target, IGNORE_LABEL)


def _tasks(source: Path, stem: str, folder: Path, tile: int, overlap: int, tiler: Callable[..., None]) -> Task:
    with Image.open(source) as image:
        boxes = boxes_of(image.height, image.width, tile, overlap)
    targets = tuple(folder / f"{stem}_{'_'.join(map(str, box))}.png" for box in boxes)
    return Task(source, targets, partial(tiler, boxes=boxes))


def splits(root: Path, tile: int = 0, overlap: int = 0) -> list[Split]:
    """List the splits of iSAID below `root`.

    Args:
        tile: side of the tiles; 0: whole pictures.
    """
    folder, kind = root / "iSAID", "_tiles" * bool(tile)
    result = []
    for name, count in OFFICIAL_COUNTS.items():
        source = folder / name / "images"
        label_files = [file for file in sorted(source.glob(f"*{LABEL}")) if not file.name.startswith(".")]
        stems = [file.name.removesuffix(LABEL) for file in label_files]
        pictures = [source / f"{stem}.png" for stem in stems if (source / f"{stem}.png").is_file()]
        images = folder / f"images{kind}_detectron2" / name
        labels = folder / f"annotations{kind}_detectron2" / name
        if tile:
            tasks = [_tasks(f, f.stem, images, tile, overlap, tile_image) for f in pictures]
            pairs = zip(label_files, stems, strict=True)
            tasks += [_tasks(f, stem, labels, tile, overlap, tile_label) for f, stem in pairs]
        else:
            convert = partial(convert_label, table=id_table(CLASSES, [IGNORE_LABEL], IGNORE_LABEL), read=read_colors)
            tasks = tasks_of_files(pictures, lambda f, to=images: to / f.name, link_or_copy)
            tasks += tasks_of_files(label_files, lambda f, to=labels: to / f"{f.name.removesuffix(LABEL)}.png", convert)
        official_count = None if tile else count
        result.append(Split(name, (source,), tasks, images, labels, len(CLASSES), IGNORE_LABEL, official_count))
    return result


ISAID = Preparation(
    name="iSAID (15 classes and background)",
    folder="iSAID",
    page="https://captain-whu.github.io/iSAID/dataset.html (labels) and\n"
    "  https://captain-whu.github.io/DOTA/dataset.html (pictures: DOTA-v1.0)",
    archive="the pictures part*.zip and the labels Semantic_masks/images.zip of train and val (some 20 GB)",
    splits=splits,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = make_parser(ISAID)
    parser.add_argument("--tile", type=int, default=0, help="side of square tiles, usually 896; 0: whole pictures")
    parser.add_argument("--overlap", type=int, default=384, help="of tiles, in pixels (%(default)s)")
    args = parser.parse_args(arguments)
    if args.tile and not 0 <= args.overlap < args.tile:
        parser.error(f"--overlap is {args.overlap}; wanted 0..{args.tile - 1}, less than --tile.")
    prepared = replace(ISAID, splits=partial(splits, tile=args.tile, overlap=args.overlap))
    with huge_pictures():
        return run(prepared, args)


@contextmanager
def huge_pictures() -> Iterator[None]:
    """Let Pillow read the largest pictures, which it would take for an attack, in here alone."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


if __name__ == "__main__":
    sys.exit(main())
