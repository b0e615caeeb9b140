"""The values of label maps that name no class."""

from torch import Tensor

# The ignore value of 16-bit label files, whatever the model's own is.
IGNORE_16_BIT = 65535


def is_labelled(labels: Tensor, ignore_value: int) -> Tensor:
    """Return where `labels`, of any shape, name a class: bool, False for either ignore value."""
    return (labels != ignore_value) & (labels != IGNORE_16_BIT)
