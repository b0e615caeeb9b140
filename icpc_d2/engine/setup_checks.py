"""Checks before a training starts, of what would otherwise end it hours later."""

import math
import os
from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from icpc_d2.config.load import ConfigError, leaves, nearest
from icpc_d2.data.folders import register_folders

# Key -> what its value must be, and that in words.
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("SOLVER.MAX_ITER", "SOLVER.IMS_PER_BATCH", "SOLVER.CHECKPOINT_PERIOD"), (lambda n: n >= 1, "1 or more")
    ),
    **dict.fromkeys(
        ("TEST.EVAL_PERIOD", "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINTS_KEPT", "SOLVER.SKIP_NON_FINITE"),
        (lambda n: n >= 0, "0 or more"),
    ),
    "SOLVER.BASE_LR": (lambda rate: 0 < rate < math.inf, "a number above 0"),
    "INPUT.FORMAT": (lambda name: name in ("RGB", "BGR"), "RGB or BGR"),
    "INPUT.ON_BAD_FILE": (lambda name: name in ("raise", "skip"), "raise or skip"),
    "INPUT.RANDOM_FLIP": (lambda name: name in ("horizontal", "vertical", "none"), "horizontal, vertical or none"),
    "INPUT.MIN_SIZE_TRAIN": (lambda sizes: len(sizes) > 0 and min(sizes) >= 1, "sizes of 1 or more"),
    "INPUT.SCALE_RANGE": (lambda r: len(r) == 2 and 0 < r[0] <= r[1] < math.inf, "two factors above 0, in order"),
}


def check_ranges(cfg: CfgNode) -> None:
    """Check values that every training reads.

    Raises:
        ConfigError: one is out of range.
    """
    values = dict(leaves(cfg))
    for key, (is_right, wanted) in RANGES.items():
        if not is_right(values[key]):
            raise ConfigError(f"{key} is {values[key]!r}, wanted {wanted}.")
    size = cfg.INPUT.CROP.SIZE
    if cfg.INPUT.CROP.ENABLED and not (len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size)):
        raise ConfigError(f"INPUT.CROP.SIZE is {size!r}, wanted height and width in pixels, as [512, 512].")


def check_weights(cfg: CfgNode) -> None:
    """Make sure that a local file of weights is there.

    Raises:
        ConfigError: it is not.
    """
    path = cfg.MODEL.WEIGHTS
    if path and "://" not in path and not os.path.isfile(os.path.expanduser(path)):
        raise ConfigError(f"MODEL.WEIGHTS: there is no file {path}.")


def check_datasets(cfg: CfgNode, is_train: bool) -> None:
    """Make sure that the data sets are registered and not empty; those of the user's folders are registered first.

    Args:
        is_train: also look for the files of ``DATASETS.TRAIN``, which an evaluation does not need.

    Raises:
        ConfigError: one is unknown or empty.
        FileNotFoundError: a folder is missing; says which command makes it.
    """
    if is_train and not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty, wanted the name of a data set to train on.")
    register_folders([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    known = DatasetCatalog.list()
    for key, name in [(f"DATASETS.{split}", name) for split in ("TRAIN", "TEST") for name in cfg.DATASETS[split]]:
        if name not in known:
            raise ConfigError(f"{key}: there is no data set '{name}'.{nearest(name, known)}")
        if is_train or key == "DATASETS.TEST":
            _check_not_empty(key, name)


def _check_not_empty(key: str, name: str) -> None:
    try:
        found = DatasetCatalog.get(name)
    except AssertionError as error:  # Detectron2 raises it for an empty folder
        raise ConfigError(f"{key}: the data set '{name}' cannot be used: {error}") from error
    if not found:
        raise ConfigError(f"{key}: the data set '{name}' has no image with a label map of the same name.")
