"""The recipe of all data sets: the official layout in, Detectron2's layout out.

A data set describes itself as a :class:`Preparation`, and :func:`run` does the work. Files are converted side by side
and appear under their name only when complete, so a run that was killed is continued by the next one, and a run that
finds everything done does nothing.
"""

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.reading import BadFileError, read_label
from icpc_d2.files import TEMPORARY, atomically
from icpc_d2.tools.prepare.archives import Archive, unpack
from icpc_d2.tools.prepare.converters import link_or_copy

NAMED_FILES = 5  # of those that went wrong


@dataclass(frozen=True)
class Task:
    """Files to make of one source: ``convert(source, *temporary files)``, which are then renamed to `targets`."""

    source: Path
    targets: tuple[Path, ...]
    convert: Callable[..., None]

    def is_done(self) -> bool:
        """Return whether all targets are there."""
        return all(target.exists() for target in self.targets)


@dataclass(frozen=True)
class Files:
    """The images or the label maps of a split.

    Attributes:
        source: their folder in the download.
        target: the folder that Detectron2 will read.
        pattern: glob of their names below `source`, with a "*" before their ending; empty: they stay where they are.
        convert: ``convert(source file, target file)``.
        suffix: of their names in `target`; empty: as in the download.
        stems: what the "*" stands for, where a list says it.
    """

    source: Path
    target: Path
    pattern: str = ""
    convert: Callable[..., None] = link_or_copy
    suffix: str = ""
    stems: Sequence[str] | None = None

    def found(self) -> list[Path]:
        """Return the files of the download that are there, in the order of their names; hidden files are none."""
        if not self.pattern:
            return []
        names = [self.pattern.replace("*", stem) for stem in self.stems or ()]
        files = self.source.glob(self.pattern) if self.stems is None else [self.source / name for name in names]
        return sorted(file for file in files if not file.name.startswith(".") and file.is_file())

    def tasks(self) -> list[Task]:
        """Return what is to be made of the files that are there."""
        return [self.task_of(file) for file in self.found()]

    def task_of(self, file: Path) -> Task:
        """Return the task to convert a file."""
        return Task(file, (self.target_of(file),), self.convert)

    def target_of(self, file: Path, addition: str = "") -> Path:
        """Return the name in `target` of a file, with an addition to its stem."""
        stem = file.name.removesuffix(self.pattern.rpartition("*")[2])
        return self.target / f"{stem}{addition}{self.suffix or file.suffix}"


@dataclass
class Split:
    """One split of a data set.

    Attributes:
        name: as people call it.
        images, labels: they pair by their stems in the prepared data set. Nothing is made without label maps.
        num_classes: prepared label maps hold 0..num_classes - 1 or the ignore label.
        official_count: number of pairs in the official data set; None: not known.
        stems: of the pairs in the official data set, as far as they are known.
        listed: the file that lists them, where the download has one.
    """

    name: str
    images: Files
    labels: Files
    num_classes: int
    official_count: int | None = None
    stems: Collection[str] = ()
    listed: Path | None = None
    tasks: list[Task] = field(init=False)

    def __post_init__(self) -> None:
        labels = self.labels.tasks()
        self.tasks = [*self.images.tasks(), *labels] if labels else []

    def sources(self) -> list[Path]:
        """Return what of the download the split comes from, for messages."""
        return [*([self.listed] if self.listed else []), self.images.source, self.labels.source]


@dataclass(frozen=True)
class Preparation:
    """A data set and how to prepare it.

    Attributes:
        name: as people call it.
        folder: where the download must lie below the root.
        page: where to download it.
        archive: what to download, and how large it is.
        splits: gives the splits below a root; may raise ValueError or OSError.
        archives: files that are unpacked first where they are found.
        mistaken: glob of a file or folder name -> what it is, for downloads that people take for this one.
    """

    name: str
    folder: str
    page: str
    archive: str
    splits: Callable[[Path], Iterable[Split]]
    archives: tuple[Archive, ...] = ()
    mistaken: Mapping[str, str] = field(default_factory=dict)


def read_stems(listed: Path) -> list[str]:
    """Read the stems of a split from a text file; none, if it is not there."""
    return listed.read_text().split() if listed.is_file() else []


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
