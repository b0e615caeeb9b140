"""The values of label maps that name no class."""

from collections.abc import Sequence

from detectron2.data import MetadataCatalog
from torch import Tensor

# The ignore value of 16-bit label files, whatever the model's own is.
IGNORE_16_BIT = 65535


def is_labelled(labels: Tensor, ignore_value: int) -> Tensor:
    """Return where `labels`, of any shape, name a class: bool, False for either ignore value."""
    return (labels != ignore_value) & (labels != IGNORE_16_BIT)


def read_ignore_value(datasets: str | Sequence[str]) -> int:
    """Return ``ignore_label`` of the metadata of a data set, or of the first of several; 255 where it has none."""
    return MetadataCatalog.get(datasets if isinstance(datasets, str) else datasets[0]).get("ignore_label", 255)
