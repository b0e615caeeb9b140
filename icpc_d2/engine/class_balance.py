"""Means against unbalanced classes: the weights and repeated images that a config asks for, by all training labels."""

import logging

import numpy as np
from detectron2.config import CfgNode
from torch import Tensor

from icpc_d2.data.class_frequency import (
    REPEAT_SAMPLER,
    count_pixels,
    frequency_table,
    median_frequency_weights,
    repeat_factors,
)
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper, named_dicts
from icpc_d2.modeling.class_weights import MEDIAN_FREQUENCY, get_class_weights

logger = logging.getLogger(__name__)


def resolve_class_weights(cfg: CfgNode, is_train: bool) -> None:
    """Turn "median_frequency" in ``MODEL.CLASS_WEIGHTS`` into numbers, in place, so that the merged config has them.

    An evaluation reads no training labels: its validation loss then weighs all pixels alike, which a notice says.

    Raises:
        ValueError: the weights do not fit the class names, or a head that does not know them would be trained.
        BadFileError: a label map cannot be used, unless ``INPUT.ON_BAD_FILE`` is "skip".
    """
    if not cfg.MODEL.CLASS_WEIGHTS:
        return
    if cfg.MODEL.SEM_SEG_HEAD.NAME == "SemSegFPNHead":
        raise ValueError(
            "MODEL.CLASS_WEIGHTS is set, but MODEL.SEM_SEG_HEAD.NAME is Detectron2's 'SemSegFPNHead', which does not "
            "know them; ours is 'SemanticFPNHead'."
        )
    if list(cfg.MODEL.CLASS_WEIGHTS) == [MEDIAN_FREQUENCY]:
        if is_train:
            names = list(cfg.MODEL.CLASS_NAMES)
            counts = _count(cfg)
            cfg.MODEL.CLASS_WEIGHTS = median_frequency_weights(counts)
            table = frequency_table(counts, names, cfg.MODEL.CLASS_WEIGHTS)
            logger.info(f"MODEL.CLASS_WEIGHTS: {MEDIAN_FREQUENCY} of {len(counts)} label maps:\n{table}")
        else:
            cfg.MODEL.CLASS_WEIGHTS = []
            logger.warning(
                f"MODEL.CLASS_WEIGHTS is {MEDIAN_FREQUENCY!r}, which only a training finds: the validation loss weighs "
                "all pixels alike. The config.yaml of the training's folder has the numbers."
            )
    get_class_weights(cfg)  # raises where they do not fit


def build_repeat_factors(cfg: CfgNode, dataset_dicts: list[dict]) -> Tensor | None:
    """Return how often each image is drawn in an epoch if ``DATALOADER.SAMPLER_TRAIN`` repeats images, else None.

    Raises:
        BadFileError: a label map cannot be used, unless ``INPUT.ON_BAD_FILE`` is "skip".
    """
    keys = cfg.DATALOADER
    if keys.SAMPLER_TRAIN != REPEAT_SAMPLER:
        return None
    counts = _count(cfg, dataset_dicts)
    factors = repeat_factors(counts, keys.REPEAT_THRESHOLD, keys.REPEAT_SQRT)
    repeated = counts[:, (counts > 0).mean(axis=0) < keys.REPEAT_THRESHOLD].any(axis=1)
    logger.info(
        f"{REPEAT_SAMPLER}: {int(repeated.sum())} of {len(counts)} images have a class that is in less than "
        f"{keys.REPEAT_THRESHOLD:g} of all; they are drawn up to {float(factors.max()):.2f} times in an epoch, which "
        f"has {float(factors.sum()):.0f} images."
    )
    return factors


def _count(cfg: CfgNode, dataset_dicts: list[dict] | None = None) -> np.ndarray:
    """Count the pixels (N, K) of the classes in the training images."""
    if dataset_dicts is None:
        dataset_dicts = named_dicts(cfg.DATASETS.TRAIN)
    logger.info(f"Counting the classes of {len(dataset_dicts)} label maps.")
    mapper = SemSegDatasetMapper(cfg, True)
    skip = cfg.INPUT.ON_BAD_FILE == "skip"
    return count_pixels(dataset_dicts, mapper.read_label, len(cfg.MODEL.CLASS_NAMES), skip)
