"""The recipe of a data set: what is made of the official layout, for :mod:`icpc_d2.tools.prepare.run` to do."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from icpc_d2.tools.prepare.archives import Archive
from icpc_d2.tools.prepare.converters import link_or_copy


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
    """The images or the label maps of a split."""

    source: Path  # their folder in the download
    target: Path  # the folder that Detectron2 will read
    # glob of their names below `source`, with a "*" before their ending; empty: they stay where they are
    pattern: str = ""
    convert: Callable[..., None] = link_or_copy  # ``convert(source file, target file)``
    suffix: str = ""  # of their names in `target`; empty: as in the download
    stems: Sequence[str] | None = None  # what the "*" stands for, where a list says it

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
    """One split of a data set."""

    name: str  # as people call it
    images: Files  # pair with the label maps by their stems; nothing is made without these
    labels: Files
    num_classes: int  # prepared label maps hold 0..num_classes - 1 or the ignore label
    official_count: int | None = None  # number of pairs in the official data set; None: not known
    stems: Collection[str] = ()  # of the pairs in the official data set, as far as they are known
    listed: Path | None = None  # the file that lists them, where the download has one
    tasks: list[Task] = field(init=False)

    def __post_init__(self) -> None:
        labels = self.labels.tasks()
        self.tasks = [*self.images.tasks(), *labels] if labels else []

    def sources(self) -> list[Path]:
        """Return what of the download the split comes from, for messages."""
        return [*([self.listed] if self.listed else []), self.images.source, self.labels.source]


@dataclass(frozen=True)
class Preparation:
    """A data set and how to prepare it."""

    name: str  # as people call it
    folder: str  # where the download must lie below the root
    page: str  # where to download it
    archive: str  # what to download, and how large it is
    splits: Callable[[Path], Iterable[Split]]  # gives the splits below a root; may raise ValueError or OSError
    archives: tuple[Archive, ...] = ()  # files that are unpacked first where they are found
    # glob of a file or folder name -> what it is, for downloads that people take for this one
    mistaken: Mapping[str, str] = field(default_factory=dict)


def read_stems(listed: Path) -> list[str]:
    """Read the stems of a split from a text file; none, if it is not there."""
    return listed.read_text().split() if listed.is_file() else []
