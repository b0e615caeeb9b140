"""Settings of optimizer and learning rate: the config's, where a resumed training's checkpoint brings back others.

torch's optimizers restore the settings with which they were saved, so that a key which was changed before ``--resume``
would do nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from detectron2.solver import LRMultiplier
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)

# Of a parameter group: what is no setting, and what the schedule makes of the rate.
NO_SETTINGS = ("params", "lr", "initial_lr")


class _Settings(NamedTuple):
    rates: list[float]  # of the parameter groups, which the schedule multiplies
    options: list[dict[str, Any]]  # the optimizer's of each group, such as weight_decay


@contextmanager
def settings_kept(optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> Iterator[None]:
    """Let a checkpoint be loaded, and go on by the settings of before, which are the config's; log those that differ.

    Raises:
        ValueError: the checkpoint has other groups of parameters.
    """
    wanted = _read(optimizer, scheduler)
    try:
        yield
    except ValueError as error:
        if "parameter group" not in str(error):  # torch's own words
            raise
        raise ValueError(
            "The checkpoint to resume from has other groups of parameters than this config makes: it was trained with "
            "another SOLVER.BACKBONE_MULTIPLIER, SOLVER.WEIGHT_DECAY*, SOLVER.BIAS_LR_FACTOR or "
            "MODEL.BACKBONE.FREEZE_AT. Set it back to continue; or start a new training from these weights, by "
            "MODEL.WEIGHTS and another OUTPUT_DIR."
        ) from error
    if changes := _restore(optimizer, scheduler, wanted):
        logger.warning(f"The config has changed since the checkpoint, and is followed: {', '.join(changes)}.")


def _read(optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> _Settings:
    groups = optimizer.param_groups
    options = [{key: value for key, value in group.items() if key not in NO_SETTINGS} for group in groups]
    return _Settings(list(scheduler.base_lrs), options)


def _restore(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, wanted: _Settings) -> list[str]:
    """Set what differs; return a line for each difference, as "weight_decay 0.01 -> 0.0001", each once."""
    found = _read(optimizer, scheduler)
    rates = zip(found.rates, wanted.rates, strict=True)
    changes = [f"learning rate {old:g} -> {new:g}" for old, new in rates if old != new]
    for group, old, new in zip(optimizer.param_groups, found.options, wanted.options, strict=True):
        changes += [f"{key} {old.get(key)} -> {value}" for key, value in new.items() if old.get(key) != value]
        group.update(new)
    scheduler.base_lrs = list(wanted.rates)
    for group, base in zip(optimizer.param_groups, wanted.rates, strict=True):
        group["initial_lr"] = base
    if isinstance(scheduler, LRMultiplier):  # torch's own tell the rate of an iteration by that of the one before
        # Also where the rates are the same: a schedule of another length has another one for this iteration.
        for group, rate in zip(optimizer.param_groups, scheduler.get_lr(), strict=True):
            group["lr"] = rate
    return list(dict.fromkeys(changes))
