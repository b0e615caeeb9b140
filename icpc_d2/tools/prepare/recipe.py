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
