"""Check a data set before it is trained on: every file is read, every fault is named.

    icpc check camvid_sem_seg_train
    icpc check folder:path/to/mine/train
    icpc check folder:path/to/mine/val --against folder:path/to/mine/train    # are the classes the same?
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
from icpc_d2.data.class_matching import class_order, label_code_of
from icpc_d2.data.folders import PREFIX, register_folders
from icpc_d2.data.pairing import Pair, Pairing, pair_files
from icpc_d2.data.pixels import is_value_range
from icpc_d2.data.reading import BadFileError, read_image, read_label
from icpc_d2.tools.check_dataset.faults import Fault, Reading, Report, inspect
from icpc_d2.visualization import Palette

NAMED_FILES = 5  # of each kind of fault; the JSON has all of them

Source = tuple[Pairing, Reading]  # the files of a data set, and how to read them


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
    parser.add_argument(
        "--against", metavar="NAME", help="a data set whose classes must be the same, such as the train"
    )
    parser.add_argument(
        "--suffixes", nargs=2, default=(), metavar=("IMAGE", "LABEL"), help="behind the names, as DATASETS.SUFFIXES"
    )
    parser.add_argument(
        "--value-range", nargs=2, type=float, default=(), metavar=("BLACK", "WHITE"), help="as INPUT.VALUE_RANGE"
    )
    parser.add_argument("--workers", type=int, default=2, help="files at a time (%(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw some label maps over their images, there")
    parser.add_argument("--num-pictures", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write everything as JSON; -: print it")
    args = parser.parse_args(arguments)
    if bool(args.name) == bool(args.images) or len({bool(args.images), bool(args.labels), bool(args.classes)}) > 1:
        parser.error("give the name of a data set, or --images, --labels and --classes.")
    if args.value_range and not is_value_range(args.value_range):
        parser.error(
            f"--value-range is {args.value_range}; wanted are the values of black and of white, in this order."
        )
    if args.against and not args.name:
        parser.error("--against compares two data sets by their names.")
    try:
        pairing, reading = _by_name(args) if args.name else _by_folders(args)
        faults = _compare_classes(args.name, args.against) if args.against else []
    except (OSError, ValueError) as error:
        report = Report(faults=[Fault("data set", args.name or str(args.classes), str(error))])
    else:
        report = inspect(pairing, reading, max(1, args.workers))
        report.faults += faults
        if args.pictures:
            _draw(pairing.pairs, reading, args.pictures, args.num_pictures)
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


def _by_name(args: argparse.Namespace) -> Source:
    name = args.name
    _register(name, args.suffixes)
    metadata = MetadataCatalog.get(name)
    samples = []
    if not name.startswith(PREFIX):
        try:
            samples = DatasetCatalog.get(name)  # draws a generated set, says what to do about missing folders
        except AssertionError as error:  # Detectron2's, for a folder without files
            raise ValueError(str(error)) from error
    names = list(metadata.get("prompt_classes") or metadata.get("stuff_classes") or [])
    if not names or any("sem_seg_file_name" not in sample for sample in samples):
        lacking = "'sem_seg_file_name' in its samples" if names else "`stuff_classes` in its metadata"
        raise ValueError(f"{name} has no {lacking}: wanted is a data set of semantic segmentation.")
    reading = Reading(names, label_code_of(name), args.value_range, metadata.get("prompt_synonyms", ()))
    if metadata.get("image_root") and metadata.get("sem_seg_root"):
        return pair_files(Path(metadata.image_root), Path(metadata.sem_seg_root), args.suffixes), reading
    paths = [(Path(sample["file_name"]), Path(sample["sem_seg_file_name"])) for sample in samples]
    return Pairing([Pair(image.stem, image, label) for image, label in paths], {}, []), reading


def _register(name: str, suffixes: Sequence[str]) -> None:
    register_folders([name], suffixes)
    if name not in DatasetCatalog.list():
        near = ", ".join(get_close_matches(name, DatasetCatalog.list(), 5))
        raise ValueError(f"there is no data set of this name. Similar names: {near or 'none'}.")


def _compare_classes(name: str, other: str) -> list[Fault]:
    """Return how the classes of a data set differ from those of another one, of which a model is trained."""
    _register(other, MetadataCatalog.get(name).get("suffixes", ()))
    try:
        order = class_order(name, training_set=other)
    except ValueError as error:
        return [Fault("other classes", name, str(error))]
    if order is None:
        return []
    message = f"the classes of {other} in another order; they are mapped by name"
    return [Fault("order of classes", name, message, is_error=False)]


def _by_folders(args: argparse.Namespace) -> Source:
    classes = read_class_list(args.classes)
    ignore_label = args.ignore_label if args.ignore_label is not None else ignore_label_of(len(classes))
    code = classes.label_code(ignore_label)
    reading = Reading(classes.prompt_names, code, args.value_range, classes.synonyms)
    return pair_files(args.images, args.labels, args.suffixes), reading


def _draw(pairs: Sequence[Pair], reading: Reading, folder: Path, count: int) -> None:
    """Write image | label map over image of some pairs, evenly spread; bad files are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    code = reading.code
    by_id = {index: color for color, index in code.colors.items()}
    colors = [by_id[k] for k in range(len(reading.names))] if by_id and not code.shared_colors else None
    palette = Palette(reading.names, colors, code.ignore_label)
    for pair in pairs[:: max(1, len(pairs) // max(1, count))][:count]:
        try:
            image = read_image(str(pair.image), value_range=reading.value_range)
            label = read_label(str(pair.label), code=code)
        except BadFileError:
            continue
        if label.shape == image.shape[:2]:
            overlay = (image.astype(np.uint16) + palette.paint(label)) // 2
            drawn = np.hstack([image, overlay.astype(np.uint8)])
            Image.fromarray(drawn).save(folder / f"{pair.name.replace('/', '_')}.png")
