"""A look at some label maps of a data set: which classes are in them, and how much is ignored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from icpc_d2.data.label_code import LabelCode
from icpc_d2.data.reading import BadFileError, check_ids, read_label

MAX_FILES = 300  # that are read where they show two classes


@dataclass
class Survey:
    """The content of the label maps that were read."""

    num_classes: int
    pixels: np.ndarray = field(init=False)  # (K,) int64, of each class
    ignored: int = 0  # pixels
    files: int = 0  # that were read
    total: int = 0  # that there are
    bad: list[str] = field(default_factory=list)  # why files cannot be used

    def __post_init__(self) -> None:
        self.pixels = np.zeros(self.num_classes, np.int64)

    @property
    def present(self) -> list[int]:
        """The classes that occur."""
        return np.flatnonzero(self.pixels).tolist()

    def add(self, label: np.ndarray, ignore_label: int) -> None:
        """Count a label map (H, W)."""
        known = label[label != ignore_label]
        self.pixels += np.bincount(known.ravel(), minlength=self.num_classes)
        self.ignored += label.size - known.size


def survey_labels(
    samples: Sequence[Mapping[str, Any]], codes: Mapping[str, LabelCode], wanted: int = 2, at_least: int = MAX_FILES
) -> Survey:
    """Read `at_least` label maps, spread over all, and more until `wanted` classes were seen.

    Args:
        samples: dataset dicts with "dataset_name", by which `codes` says how label files are read.
    """
    num_classes = next(iter(codes.values())).num_classes
    found = Survey(num_classes, total=len(samples))
    for index in _spread(len(samples), at_least):
        if found.files >= at_least and len(found.present) >= wanted:
            break
        sample = samples[index]
        code, file_name = codes[sample["dataset_name"]], sample["sem_seg_file_name"]
        found.files += 1
        try:
            label = read_label(file_name, None, code)
            check_ids(file_name, label, num_classes, code.ignore_label)
        except BadFileError as error:
            found.bad.append(str(error))
        else:
            found.add(label, code.ignore_label)
    return found


def _spread(total: int, count: int) -> Iterator[int]:
    """Yield `count` numbers below `total` that are evenly spread, and then all others."""
    first = dict.fromkeys(index * total // count for index in range(count)) if total > count else {}
    yield from first
    yield from (index for index in range(total) if index not in first)
