"""Checks of the data sets' files before a training or an evaluation spends hours on them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode

from icpc_d2.config.load import ConfigError
from icpc_d2.data.class_matching import label_code_of
from icpc_d2.data.dataset_mapper import named_dicts
from icpc_d2.data.label_code import LabelCode
from icpc_d2.data.reading import read_image
from icpc_d2.data.survey import Survey, survey_labels
from icpc_d2.evaluation.evaluators import build_shared_classes, order_in

logger = logging.getLogger(__name__)

NUM_IMAGES = 8  # that are read of the training sets
NAMED_CLASSES = 20


def check_labels(cfg: CfgNode, is_train: bool) -> None:
    """Look at label maps and images: training needs two classes, an evaluation a labelled pixel.

    Classes that are not seen in the training labels are warned of.

    Args:
        cfg: with the classes settled.

    Raises:
        ConfigError: there is nothing to train or to evaluate.
        ValueError: a file that cannot be used, unless ``INPUT.ON_BAD_FILE`` says to skip it.
    """
    if is_train:
        samples, codes = _samples(cfg, cfg.DATASETS.TRAIN)
        _check_training(cfg, survey_labels(samples, codes))
        for sample in samples[:: max(1, len(samples) // NUM_IMAGES)][:NUM_IMAGES]:
            try:
                read_image(sample["file_name"], value_range=cfg.INPUT.VALUE_RANGE)
            except ValueError:
                if cfg.INPUT.ON_BAD_FILE == "raise":
                    raise
    for name in cfg.DATASETS.TEST:
        found = survey_labels(*_samples(cfg, [name]), wanted=1, at_least=1)
        if found.bad:
            logger.warning(f"DATASETS.TEST: {found.bad[0]}")
        if not found.present:
            raise ConfigError(
                f"DATASETS.TEST: no label map of '{name}' has a labelled pixel, so that there is nothing to evaluate: "
                f"{found.ignored} pixels in {found.total} files are ignored.{_first(found.bad)}"
            )


def _samples(cfg: CfgNode, names: Sequence[str]) -> tuple[list[Mapping[str, Any]], dict[str, LabelCode]]:
    codes = {}
    for name in names:
        is_shared = name in cfg.DATASETS.TEST and build_shared_classes(cfg, name) is not None
        codes[name] = label_code_of(name, None if is_shared else order_in(cfg, name))
    samples = named_dicts(names)
    if without := [sample for sample in samples if not sample.get("sem_seg_file_name")]:
        raise ConfigError(
            f"The data set '{without[0]['dataset_name']}' has no label map ('sem_seg_file_name') for {len(without)} "
            f"images, such as {without[0].get('file_name')}: is it one of semantic segmentation?"
        )
    return samples, codes


def _check_training(cfg: CfgNode, found: Survey) -> None:
    names = list(cfg.MODEL.CLASS_NAMES)
    if found.bad and cfg.INPUT.ON_BAD_FILE == "raise":
        raise ConfigError(f"DATASETS.TRAIN: {found.bad[0]}")
    ignored = 100 * found.ignored / max(1, found.ignored + int(found.pixels.sum()))
    if len(found.present) < 2:
        seen = f"the class {names[found.present[0]]!r} alone" if found.present else "no class"
        raise ConfigError(
            f"DATASETS.TRAIN: {found.files} label maps show {seen}, and {ignored:.0f} % of their pixels are ignored: "
            "there is nothing to tell apart. In files of grey values 255 is ignored, unless classes.txt gives it to a "
            f"class: '{names[-1]} | | | 255', with an id for each other class too.{_first(found.bad)}"
        )
    if missing := [f"{index} {name!r}" for index, name in enumerate(names) if not found.pixels[index]]:
        more = f", and {len(missing) - NAMED_CLASSES} more" if len(missing) > NAMED_CLASSES else ""
        logger.warning(
            f"{found.files} of {found.total} training label maps were looked at. No pixel in them is of {len(missing)} "
            f"of {len(names)} classes: {', '.join(missing[:NAMED_CLASSES])}{more}. {ignored:.0f} % of the pixels are "
            "ignored. `icpc check` reads all files."
        )


def _first(bad: Sequence[str]) -> str:
    return f" {len(bad)} cannot be used; the first one: {bad[0]}" if bad else ""
