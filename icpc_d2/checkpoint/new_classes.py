"""Fine-tuning to other classes: a checkpoint's weights, those of single classes carried over by the classes' names.

Most of a model knows nothing of its classes. What does has an entry for each class along some axis: the up-sampling of
score maps, the part of the FPN's lateral convolutions that reads them, and the classifier.
"""

import logging
import re
from collections.abc import Mapping, Sequence

import torch
from tabulate import tabulate
from torch import Tensor, nn

from icpc_d2.checkpoint.key_maps import check_names, fit
from icpc_d2.files import as_compared

logger = logging.getLogger(__name__)

# Axis -> index on it where the classes begin.
Axes = Mapping[int, int]
_UP_SAMPLING = re.compile(r"alignment\.up_\d+_to_\d+\.\d+")
_CLASSIFIER = re.compile(r"sem_seg_head\.predictor(\.1)?")
_LATERAL = re.compile(r"neck\.fpn_lateral\d")


def class_axes(model: nn.Module) -> dict[str, Axes]:
    """Return where the tensors of a model have an entry for each class, by their names."""
    axes: dict[str, Axes] = {}
    for name, module in model.named_modules():
        if _UP_SAMPLING.fullmatch(name):
            axes |= {f"{name}.weight": {0: 0, 1: 0}, f"{name}.bias": {0: 0}}
        elif _CLASSIFIER.fullmatch(name) and hasattr(module, "weight"):
            axes |= {f"{name}.weight": {0: 0}, f"{name}.bias": {0: 0}}
        elif _LATERAL.fullmatch(name) and module.channels < module.conv.in_channels:
            axes[f"{name}.conv.weight"] = {1: module.channels}  # the feature map's channels come first
    return axes


def shared_ids(theirs: Sequence[str], ours: Sequence[str]) -> list[tuple[int, int]]:
    """Return the ids (in `theirs`, in `ours`) of the classes of one name.

    Case, Unicode form, blanks, hyphens and underscores do not count where no name is the very same.
    """
    same = {name: index for index, name in enumerate(theirs)}
    alike = {as_compared(name): index for index, name in reversed(list(enumerate(theirs)))}
    pairs = [(same.get(name, alike.get(as_compared(name))), index) for index, name in enumerate(ours)]
    return [(their, our) for their, our in pairs if their is not None]


def carry_over(
    weights: Mapping[str, Tensor], theirs: Sequence[str], model: nn.Module, ours: Sequence[str]
) -> dict[str, Tensor]:
    """Return the weights of a checkpoint in the shapes of a model of other classes; log what is kept and what is new.

    Args:
        theirs: class names of the checkpoint.
        ours: class names of the model; the entries of those that the checkpoint lacks are the model's own.

    Raises:
        ValueError: the checkpoint does not name its classes, or is of another model in more than its classes.
    """
    if not theirs:
        raise ValueError(
            "MODEL.NEW_CLASSES is True, but the file of MODEL.WEIGHTS does not name the classes that it was trained "
            "for, as checkpoints of this project do. CLIP's and ImageNet's weights have none: set it to False."
        )
    state, axes, ids = model.state_dict(), class_axes(model), shared_ids(theirs, ours)
    check_names(state.keys() - weights.keys(), weights.keys() - state.keys(), "a checkpoint", weights)
    carried = {
        name: _carry_entries(name, weights[name], value, axes[name], ids, len(theirs))
        if name in axes
        else fit(name, weights[name], value)
        for name, value in state.items()
        if name in weights
    }
    logger.info("MODEL.NEW_CLASSES:\n%s\n%s", _classes_table(theirs, ours, ids), _parts_table(state, axes, len(ids)))
    return carried


def _carry_entries(
    name: str, source: Tensor, target: Tensor, axes: Axes, ids: Sequence[tuple[int, int]], num_theirs: int
) -> Tensor:
    """Copy what two tensors have in common along the class axes from `source` into a copy of `target`."""
    wanted = [axes[axis] + num_theirs if axis in axes else size for axis, size in enumerate(target.shape)]
    if list(source.shape) != wanted:
        fit(name, source, target.new_empty(wanted, device="meta"))  # raises
    index: tuple[list[Tensor], list[Tensor]] = ([], [])
    for axis, size in enumerate(target.shape):
        before = range(axes.get(axis, size))
        # As numpy.ix_: one axis of the index for each axis of the tensor.
        shape = [-1 if other == axis else 1 for other in range(target.ndim)]
        for side, places in enumerate(zip(*ids, strict=True) if axis in axes and ids else ((), ())):
            entries = [*before, *(len(before) + place for place in places)]
            index[side].append(torch.tensor(entries, dtype=torch.long).view(shape))
    result = target.clone()
    result[tuple(index[1])] = source[tuple(index[0])].to(target)
    return result


def _classes_table(theirs: Sequence[str], ours: Sequence[str], ids: Sequence[tuple[int, int]]) -> str:
    """Format a row for each class of the model, and one for each that the checkpoint alone has."""
    from_theirs = {our: their for their, our in ids}
    kept = set(from_theirs.values())
    rows = [
        [name, index, from_theirs.get(index, "-"), "carried over" if index in from_theirs else "new"]
        for index, name in enumerate(ours)
    ]
    rows += [[name, "-", index, "left out"] for index, name in enumerate(theirs) if index not in kept]
    return tabulate(rows, ["class", "id", "id in the checkpoint", ""], disable_numparse=True)


def _parts_table(state: Mapping[str, Tensor], axes: Mapping[str, Axes], num_kept: int) -> str:
    """Format a row for each part of a model: its numbers that are carried over, and those that are new."""
    counts: dict[str, list[int]] = {}
    for name, value in state.items():
        kept = value.numel()
        for axis, start in axes.get(name, {}).items():
            kept = kept // value.shape[axis] * (start + num_kept)
        part = ".".join(name.split(".")[: 2 if name in axes else 1])
        row = counts.setdefault(part, [0, 0])
        row[0] += kept
        row[1] += value.numel() - kept
    rows = [[part, f"{kept:,}", f"{new:,}"] for part, (kept, new) in sorted(counts.items())]
    headers = ["part", "numbers carried over", "numbers new"]
    return tabulate(rows, headers, colalign=("left", "right", "right"), disable_numparse=True)
