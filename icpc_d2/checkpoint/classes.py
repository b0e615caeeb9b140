"""The class names that a checkpoint holds, against those of the model that it is loaded into."""

from collections.abc import Sequence
from itertools import zip_longest

NAMED_CLASSES = 20  # of those that differ


def check_classes(found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a checkpoint of other classes than the model's; one of them may be empty, which is any.

    Raises:
        ValueError: they differ; the message lists how.
    """
    if not found or not wanted or list(found) == list(wanted):
        return
    pairs = enumerate(zip_longest(found, wanted, fillvalue="(none)"))
    differing = [f"{index}: {theirs!r} -> {ours!r}" for index, (theirs, ours) in pairs if theirs != ours]
    shown = ", ".join(differing[:NAMED_CLASSES]) + f", and {len(differing) - NAMED_CLASSES} more" * (
        len(differing) > NAMED_CLASSES
    )
    raise ValueError(
        f"The weights were trained for {len(found)} classes, the data set or MODEL.CLASS_NAMES has {len(wanted)}. "
        f"{len(differing)} differ (id: weights -> data): {shown}. Use a data set of the same classes in the same "
        "order, or start from CLIP's weights."
    )
