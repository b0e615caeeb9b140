"""Check a data set before it is trained on: every file is read, every fault is named.

    icpc check camvid_sem_seg_train
    icpc check folder:path/to/mine/train
    icpc check --images DIR --labels DIR --classes FILE

Exit status: 1 when there are errors; warnings alone are 0.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from tabulate import tabulate

import icpc_d2.data  # noqa: F401  registers the data sets
from icpc_d2.data.class_list import ignore_label_of, read_class_list
from icpc_d2.data.folders import PREFIX, files_by_stem, register_folders
from icpc_d2.data.reading import BadFileError, read_image, read_label
from icpc_d2.tools.check_dataset.faults import Fault, Labels, Report, inspect
from icpc_d2.visualization import Palette

NAMED_FILES = 5  # of each kind of fault; the JSON has all of them

Source = tuple[Path, Path, Labels]  # folders of the images and of the label maps, and how to read these


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="icpc check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help=f"a registered data set, or {PREFIX}<path>/<split>")
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--labels", type=Path, help="folder of label maps with the same names")
    parser.add_argument("--classes", type=Path, help="one class a line: name | r g b")
    parser.add_argument("--ignore-label", type=int, help="with --labels: 255, and 65535 for more than 255 classes")
    parser.add_argument("--workers", type=int, default=2, help="files at a time (%(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw some label maps over their images, there")
    parser.add_argument("--num-pictures", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write everything as JSON; -: print it")
    args = parser.parse_args(arguments)
    if bool(args.name) == bool(args.images) or len({bool(args.images), bool(args.labels), bool(args.classes)}) > 1:
        parser.error("give the name of a data set, or --images, --labels and --classes.")
    try:
        *folders, labels = _by_name(args.name) if args.name else _by_folders(args)
        images, label_maps = map(files_by_stem, folders)
    except (OSError, ValueError) as error:
        report = Report(faults=[Fault("data set", args.name or str(args.classes), str(error))])
    else:
        report = inspect(images, label_maps, labels, max(1, args.workers))
        if args.pictures:
            _draw(images, label_maps, labels, args.pictures, args.num_pictures)
    content = json.dumps(to_json(report), indent=1)
    if args.json == "-":
        print(content)
    else:
        print(to_text(report))
        if args.json:
            Path(args.json).write_text(content, encoding="utf-8")
    return int(any(fault.is_error for fault in report.faults))


def to_json(report: Report) -> dict:
    """Return everything in the report, as plain data."""
    faults = {
        key: [{"kind": f.kind, "where": f.where, "message": f.message} for f in report.faults if f.is_error == is_error]
        for key, is_error in (("errors", True), ("warnings", False))
    }
    classes = [
        {"name": name, "pixels": int(pixels), "pictures": int(images)}
        for name, pixels, images in zip(report.names, report.pixels, report.images, strict=True)
    ]
    return {"pairs": report.pairs, "ignored_pixels": report.ignored, "classes": classes, **faults}


def to_text(report: Report) -> str:
    """Write the report as a table of the classes and one of the faults."""
    total = max(1, int(report.pixels.sum()) + report.ignored)
    rows = [
        (index, name, images, f"{100 * pixels / total:.2f}")
        for index, (name, pixels, images) in enumerate(zip(report.names, report.pixels, report.images, strict=True))
    ]
    rows.append(("", "(ignored)", "", f"{100 * report.ignored / total:.2f}"))
    parts = [f"{report.pairs} pairs of image and label map"]
    if report.names:
        parts.append(tabulate(rows, ["id", "class", "images", "% of pixels"]))
    kinds: dict[tuple[bool, str], list[Fault]] = defaultdict(list)
    for fault in report.faults:
        kinds[not fault.is_error, fault.kind].append(fault)
    lines = []
    for (is_warning, kind), faults in sorted(kinds.items()):
        what = f"{'warning' if is_warning else 'error'}: {kind} ({len(faults)})"
        named = [(what if not k else "", f.where, f.message) for k, f in enumerate(faults[:NAMED_FILES])]
        lines += named + [("", "...", f"and {len(faults) - NAMED_FILES} more")] * (len(faults) > NAMED_FILES)
    parts.append(tabulate(lines, ["fault", "where", "what"]) if lines else "No faults found.")
    return "\n\n".join(parts)


def _by_name(name: str) -> Source:
    register_folders([name])
    if name not in DatasetCatalog.list():
        near = ", ".join(get_close_matches(name, DatasetCatalog.list(), 5))
        raise ValueError(f"there is no data set of this name. Similar names: {near or 'none'}.")
    metadata = MetadataCatalog.get(name)
    if not name.startswith(PREFIX):
        try:
            DatasetCatalog.get(name)  # draws a generated set, says what to do about missing folders
        except AssertionError as error:  # Detectron2's, for a folder without files
            raise ValueError(str(error)) from error
    names = list(metadata.get("prompt_classes") or metadata.stuff_classes)
    labels = Labels(names, metadata.get("ignore_label", 255), metadata.get("label_colors"))
    return Path(metadata.image_root), Path(metadata.sem_seg_root), labels


def _by_folders(args: argparse.Namespace) -> Source:
    classes = read_class_list(args.classes)
    ignore_label = args.ignore_label if args.ignore_label is not None else ignore_label_of(len(classes))
    labels = Labels(classes.prompt_names, ignore_label, classes.color_table(ignore_label))
    return args.images, args.labels, labels


def _draw(
    images: dict[str, list[Path]], label_maps: dict[str, list[Path]], labels: Labels, folder: Path, count: int
) -> None:
    """Write image | label map over image of some pairs, evenly spread; bad files are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    by_id = {index: color for color, index in (labels.colors or {}).items()}
    colors = [by_id[index] for index in range(len(labels.names))] if by_id else None
    palette = Palette(labels.names, colors, labels.ignore_label)
    stems = sorted(images.keys() & label_maps.keys())
    for stem in stems[:: max(1, len(stems) // max(1, count))][:count]:
        try:
            image = read_image(str(images[stem][0]))
            label = read_label(str(label_maps[stem][0]), colors=labels.colors)
        except BadFileError:
            continue
        if label.shape == image.shape[:2]:
            overlay = (image.astype(np.uint16) + palette.paint(label)) // 2
            Image.fromarray(np.hstack([image, overlay.astype(np.uint8)])).save(folder / f"{stem}.png")
