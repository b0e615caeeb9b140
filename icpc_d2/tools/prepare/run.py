"""Carrying a recipe out: the official layout in, Detectron2's layout out.

Files are converted side by side and appear under their name only when complete, so a run that was killed is continued
by the next one, and a run that finds everything done does nothing.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.reading import BadFileError, read_label
from icpc_d2.files import TEMPORARY, atomically
from icpc_d2.tools.prepare.archives import unpack
from icpc_d2.tools.prepare.recipe import Preparation, Split, Task

NAMED_FILES = 5  # of those that went wrong


def run(preparation: Preparation, args: argparse.Namespace) -> int:
    """Prepare or check a data set, and print what came of it.

    Args:
        args: of the command line.

    Returns:
        Exit status: 0 when all is well or merely incomplete, 1 when there is an error.
    """
    workers = max(1, args.workers)
    try:
        if not args.check:
            unpack(preparation.archives, args.root, preparation.folder, preparation.mistaken)
        splits = list(preparation.splits(args.root))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not any(split.tasks or (args.check and split.labels.target.is_dir()) for split in splits):
        print(_how_to_get(preparation, splits, args.root), file=sys.stderr)
        return 1
    errors, warnings = [], []
    for split in splits:
        if not (split.labels.target.is_dir() if args.check else split.tasks):
            missing = [split.labels.target] if args.check else split.sources()
            warnings.append(f"{split.name}: skipped, nothing in {' or '.join(map(str, missing))}.")
            continue
        made = 0
        if not args.check:
            made, messages = _convert(split, workers)
            errors += messages
        if args.check or made:
            errors += _check_labels(split, workers)
        (errors if args.strict else warnings).extend(_compare_counts(split))
    print(*(f"warning: {message}\n" for message in warnings), sep="", end="", file=sys.stderr)
    print(*(f"error: {message}\n" for message in errors), sep="", end="", file=sys.stderr)
    return 1 if errors else 0


def _how_to_get(preparation: Preparation, splits: list[Split], root: Path) -> str:
    target = root / preparation.folder
    expected = "\n".join(dict.fromkeys(f"  {source}" for split in splits for source in split.sources()))
    found = "it has none of what is listed below" if target.is_dir() else "there is no such folder"
    for pattern, what in preparation.mistaken.items():
        for path in sorted({*root.glob(pattern), *target.glob(pattern)}):
            found += f". {path} is {what}, which is not what this command prepares"
    return (
        f"{preparation.name}: looked in {target}, {found}. Download {preparation.archive} from\n"
        f"  {preparation.page}\nand put the archive into {root}, or unpack it so that these exist, or name another "
        f"folder of data sets by --root or DETECTRON2_DATASETS:\n{expected}"
    )


def _convert(split: Split, workers: int) -> tuple[int, list[str]]:
    """Do the tasks that are not done yet; return the number of files made and error messages."""
    todo = [task for task in split.tasks if not task.is_done()]
    folders = {target.parent for task in split.tasks for target in task.targets}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMPORARY}*"):  # of runs that were killed
            leftover.unlink(missing_ok=True)
    errors = _for_each(_make, todo, workers, f"{split.name}: converting")
    there = sum(len(task.targets) for task in split.tasks) - sum(len(task.targets) for task in todo)
    made = sum(len(task.targets) for task in todo if task.is_done())
    print(f"{split.name}: {made} files made, {there} were there already, in {split.labels.target}")
    return made, _summary(split, errors)


def _make(task: Task) -> None:
    with ExitStack() as stack:
        task.convert(task.source, *[stack.enter_context(atomically(target)) for target in task.targets])


def _check_labels(split: Split, workers: int) -> list[str]:
    ignore_label = ignore_label_of(split.num_classes)

    def check(file: Path) -> None:
        ids = np.unique(read_label(str(file), np.int32))
        wrong = ids[((ids < 0) | (ids >= split.num_classes)) & (ids != ignore_label)]
        if len(wrong):
            wanted = f"0..{split.num_classes - 1} or {ignore_label}"
            raise BadFileError(f"{file}: found the ids {wrong[:NAMED_FILES].tolist()}, wanted {wanted}.")

    files = sorted(split.labels.target.glob("[!.]*"))
    errors = _for_each(check, files, workers, f"{split.name}: checking")
    print(f"{split.name}: {len(files) - len(errors)} of {len(files)} label maps are good, in {split.labels.target}")
    return _summary(split, errors)


def _for_each(function: Callable[..., None], items: Iterable[object], workers: int, title: str) -> list[str]:
    """Call a function on every item, `workers` at a time, with a progress bar; return the messages of what failed.

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
    """Compare the prepared pairs with the official ones and with each other."""
    images, labels = (
        {file.stem for file in folder.glob("[!.]*")} for folder in (split.images.target, split.labels.target)
    )
    pairs = images & labels
    messages = []
    if split.official_count not in (None, len(pairs)):
        message = f"{split.name}: {len(pairs)} pairs, the official data set has {split.official_count}"
        absent, foreign = sorted(set(split.stems) - pairs), sorted(pairs - set(split.stems) if split.stems else ())
        for what, stems in (("missing", absent), ("not official", foreign)):
            if stems:
                message += f"; {what}: {', '.join(stems[:NAMED_FILES])}{', ...' * (len(stems) > NAMED_FILES)}"
        messages.append(message + ".")
    for what, other, stems in (("images", "label map", images - labels), ("label maps", "image", labels - images)):
        if stems:
            names = ", ".join(sorted(stems)[:NAMED_FILES])
            messages.append(f"{split.name}: {len(stems)} {what} without a {other}, which will not be used: {names}.")
    return messages
