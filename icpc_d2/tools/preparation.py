"""What the ``prepare_*`` tools share: official layout in, Detectron2 layout out.

A tool describes its data set as a :class:`Preparation` and hands it to :func:`main`. Files are converted side by side
and appear under their name only when complete, so a run that was killed is continued by the next one, and a run that
finds everything done does nothing.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from icpc_d2.data.datasets import datasets_root
from icpc_d2.data.reading import BadFileError, read_label

# How many of the files that went wrong are named one by one.
NAMED_FILES = 5


@dataclass(frozen=True)
class Task:
    """One file to make: ``convert(source, temporary file)``, which is then renamed to `target`."""

    source: Path
    target: Path
    convert: Callable[[Path, Path], None]


@dataclass(frozen=True)
class Split:
    """One split of a data set.

    Attributes:
        name: as people call it.
        sources: the folders of the download that it comes from, for messages.
        tasks: the files to make; none when the download lacks this split.
        images: folder of the pictures that Detectron2 will read.
        labels: folder of the label maps that Detectron2 will read; they pair with the pictures by their stems.
        official_count: number of pairs in the official data set.
    """

    name: str
    sources: tuple[Path, ...]
    tasks: list[Task]
    images: Path
    labels: Path
    official_count: int


@dataclass(frozen=True)
class Preparation:
    """A data set and how to prepare it.

    Attributes:
        name: as people call it.
        folder: where the download must lie below the root.
        page: where to download it.
        archive: what to download, and how large it is.
        num_classes: prepared label maps hold 0..num_classes - 1 or the ignore label.
        ignore_label: label value of unlabelled pixels.
        splits: lists the splits below a root.
    """

    name: str
    folder: str
    page: str
    archive: str
    num_classes: int
    ignore_label: int
    splits: Callable[[Path], list[Split]]


def tasks_of_folder(source: Path, target: Path, ending: str, convert: Callable[[Path, Path], None]) -> list[Task]:
    """One task for each file of a flat folder with this ending; none if there is no such folder."""
    if not source.is_dir():
        return []
    return [Task(file, target / file.name, convert) for file in sorted(source.glob(f"[!.]*{ending}"))]


def relabel(source: Path, target: Path, table: np.ndarray) -> None:
    """Write a label map as 8-bit PNG with its ids replaced.

    Args:
        table: (number of ids in the source,) uint8, the new id of each.

    Raises:
        BadFileError: an unreadable file, or an id that the table does not have.
    """
    label = read_label(str(source))
    unknown = np.unique(label[(label < 0) | (label >= len(table))])
    if len(unknown):
        raise BadFileError(f"{source}: found the ids {unknown[:NAMED_FILES].tolist()}, wanted 0..{len(table) - 1}.")
    Image.fromarray(table[label]).save(target, format="PNG")


def link_or_copy(source: Path, target: Path) -> None:
    """Make the same file appear in another folder; a hard link takes no room, a copy works across disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main(preparation: Preparation, arguments: Sequence[str] | None = None) -> int:
    """Command line of a tool.

    Returns:
        Exit status: 0 when all is well or merely incomplete, 1 when there is an error.
    """
    parser = argparse.ArgumentParser(description=f"Prepare {preparation.name} for Detectron2. {preparation.page}")
    parser.add_argument(
        "--root", type=Path, default=Path(datasets_root()), help="folder of all data sets (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="files at a time (%(default)s)")
    parser.add_argument("--check", action="store_true", help="convert nothing, read every prepared label map")
    parser.add_argument("--strict", action="store_true", help="counts that differ from the official ones are errors")
    args = parser.parse_args(arguments)
    workers = max(1, args.workers)
    splits = preparation.splits(args.root)
    if not any(split.tasks or (args.check and split.labels.is_dir()) for split in splits):
        print(_how_to_get(preparation, args.root), file=sys.stderr)
        return 1
    errors, warnings = [], []
    for split in splits:
        if not (split.labels.is_dir() if args.check else split.tasks):
            missing = [split.labels] if args.check else split.sources
            warnings.append(f"{split.name}: skipped, nothing in {' or '.join(map(str, missing))}.")
            continue
        if args.check:
            errors += _check_labels(preparation, split, workers)
        else:
            errors += _convert(split, workers)
        (errors if args.strict else warnings).extend(_compare_counts(split))
    for message in warnings:
        print(f"warning: {message}", file=sys.stderr)
    for message in errors:
        print(f"error: {message}", file=sys.stderr)
    return 1 if errors else 0


def _how_to_get(preparation: Preparation, root: Path) -> str:
    target = root / preparation.folder
    expected = "\n".join(f"  {folder}" for split in preparation.splits(root) for folder in split.sources)
    found = "it has none of the folders below" if target.is_dir() else "there is no such folder"
    return (
        f"{preparation.name}: looked in {target}, {found}. Download {preparation.archive} from\n"
        f"  {preparation.page}\nand unpack it so that these folders exist, or name another folder of data sets by "
        f"--root or DETECTRON2_DATASETS:\n{expected}"
    )


def _convert(split: Split, workers: int) -> list[str]:
    """Do the tasks that are not done yet; returns error messages."""
    todo = [task for task in split.tasks if not task.target.exists()]
    for folder in {task.target.parent for task in split.tasks}:
        folder.mkdir(parents=True, exist_ok=True)
    errors = _for_each(_make, todo, workers, f"{split.name}: converting")
    for folder in {task.target.parent for task in split.tasks}:
        for leftover in folder.glob(".*.tmp"):  # of runs that were killed
            leftover.unlink(missing_ok=True)
    done = len(todo) - len(errors)
    print(f"{split.name}: {done} files made, {len(split.tasks) - len(todo)} were there already, in {split.labels}")
    return _summary(split, errors)


def _make(task: Task) -> None:
    temporary = task.target.with_name(f".{task.target.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        task.convert(task.source, temporary)
        os.replace(temporary, task.target)
    finally:
        temporary.unlink(missing_ok=True)


def _check_labels(preparation: Preparation, split: Split, workers: int) -> list[str]:
    files = sorted(split.labels.glob("[!.]*"))
    check = partial(_check_label, num_classes=preparation.num_classes, ignore_label=preparation.ignore_label)
    errors = _for_each(check, files, workers, f"{split.name}: checking")
    print(f"{split.name}: {len(files) - len(errors)} of {len(files)} label maps are good, in {split.labels}")
    return _summary(split, errors)


def _check_label(file: Path, num_classes: int, ignore_label: int) -> None:
    ids = np.unique(read_label(str(file)))
    wrong = ids[((ids < 0) | (ids >= num_classes)) & (ids != ignore_label)]
    if len(wrong):
        wanted = f"0..{num_classes - 1} or {ignore_label}"
        raise BadFileError(f"{file}: found the ids {wrong[:NAMED_FILES].tolist()}, wanted {wanted}.")


def _for_each(function: Callable[..., None], items: Iterable[object], workers: int, title: str) -> list[str]:
    """Call a function on every item, `workers` at a time, with a progress bar; returns the messages of what failed.

    Threads suffice: reading, numpy and PNG compression release Python's lock.
    """
    errors = []
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in tqdm(as_completed(futures), title, total=len(futures), disable=not futures, unit="files"):
                error = future.exception()
                if isinstance(error, (OSError, ValueError)):
                    errors.append(str(error))
                elif error is not None:
                    raise error
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, else it would go on to the end
    return sorted(errors)


def _summary(split: Split, errors: list[str]) -> list[str]:
    named = [f"{split.name}: {message}" for message in errors[:NAMED_FILES]]
    return named + [f"{split.name}: and {len(errors) - NAMED_FILES} more."] * (len(errors) > NAMED_FILES)


def _compare_counts(split: Split) -> list[str]:
    """Compare the prepared pairs with the official number and with each other."""
    images, labels = ({file.stem for file in folder.glob("[!.]*")} for folder in (split.images, split.labels))
    messages = []
    if len(images & labels) != split.official_count:
        messages.append(
            f"{split.name}: {len(images & labels)} pairs, the official data set has {split.official_count}."
        )
    for what, other, stems in (("pictures", "label map", images - labels), ("label maps", "picture", labels - images)):
        if stems:
            names = ", ".join(sorted(stems)[:NAMED_FILES])
            messages.append(f"{split.name}: {len(stems)} {what} without a {other}, which will not be used: {names}.")
    return messages
