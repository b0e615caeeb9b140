"""The only place where the config turns into evaluators."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from icpc_d2.data.class_list import SharedClasses, read_shared_classes
from icpc_d2.data.class_matching import class_order, inverse
from icpc_d2.evaluation.image_writer import ImageWriter
from icpc_d2.evaluation.sem_seg import SemSegEvaluator, SharedClassesEvaluator
from icpc_d2.evaluation.validation_loss import ValidationLoss
from icpc_d2.modeling.class_weights import get_class_weights


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """Build the evaluators of one data set of ``DATASETS.TEST``, by its metadata's ``evaluator_type``.

    Raises:
        ValueError: the data set is not one of semantic segmentation, or contradicts ``TEST.CROSS_DOMAIN``.
    """
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if evaluator_type != "sem_seg":
        raise ValueError(
            f"The data set '{dataset_name}' has evaluator_type {evaluator_type!r} in its metadata, wanted 'sem_seg'."
        )
    # A folder for each data set where there are several.
    below = [dataset_name] if len(cfg.DATASETS.TEST) > 1 else []
    shared = build_shared_classes(cfg, dataset_name)
    order = order_in(cfg, dataset_name) if shared is None else None
    if shared is None:
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", *below) if cfg.TEST.SEM_SEG.SAVE_PREDICTIONS else None
        loss = ValidationLoss(get_class_weights(cfg)) if cfg.TEST.SEM_SEG.LOSS else None
        evaluators = [SemSegEvaluator(dataset_name, folder, cfg.TEST.SEM_SEG.BOUNDARY_IOU, loss, order)]
    else:
        evaluators = _build_shared(cfg, dataset_name, shared)
    if cfg.TEST.SEM_SEG.NUM_PICTURES > 0:
        folder = os.path.join(cfg.OUTPUT_DIR, "pictures", *below)
        number, value_range = cfg.TEST.SEM_SEG.NUM_PICTURES, cfg.INPUT.VALUE_RANGE
        to_dataset = shared.to_dataset if shared is not None else None if order is None else inverse(order)
        evaluators.append(ImageWriter(dataset_name, folder, number, to_dataset, value_range))
    return DatasetEvaluators(evaluators)


def _build_shared(cfg: CfgNode, dataset_name: str, shared: SharedClasses) -> list[DatasetEvaluator]:
    candidates = list(cfg.TEST.CROSS_DOMAIN.CANDIDATES)
    if sorted(candidates) not in (["all"], ["shared"], ["all", "shared"]):
        raise ValueError(f"TEST.CROSS_DOMAIN.CANDIDATES is {candidates}; wanted is 'all', 'shared' or both.")
    if cfg.TEST.SEM_SEG.SAVE_PREDICTIONS or cfg.TEST.SEM_SEG.BOUNDARY_IOU:
        raise ValueError(
            "TEST.CROSS_DOMAIN gives no per-image JSON and no boundary IoU: set TEST.SEM_SEG.SAVE_PREDICTIONS and "
            "TEST.SEM_SEG.BOUNDARY_IOU to False."
        )
    return [
        SharedClassesEvaluator(dataset_name, shared, name == "shared", "sem_seg" if index == 0 else f"sem_seg_{name}")
        for index, name in enumerate(candidates)
    ]


def order_in(cfg: CfgNode, dataset_name: str) -> list[int] | None:
    """Return which of the model's classes each class of a data set is; see :func:`class_order`."""
    return class_order(dataset_name, cfg.MODEL.CLASS_NAMES, next(iter(cfg.DATASETS.TRAIN), ""))


def build_shared_classes(cfg: CfgNode, dataset_name: str) -> SharedClasses | None:
    """Read which classes a data set of ``DATASETS.TEST`` shares with the model; None: it has the model's own.

    Raises:
        ValueError: ``TEST.CROSS_DOMAIN.SHARED_CLASSES`` has no list for a data set, or names unknown classes.
        FileNotFoundError: there is no such list.
    """
    lists = cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES
    if not lists:
        return None
    if len(lists) != len(cfg.DATASETS.TEST):
        raise ValueError(
            f"TEST.CROSS_DOMAIN.SHARED_CLASSES has {len(lists)} lists, {list(lists)}; DATASETS.TEST has "
            f"{len(cfg.DATASETS.TEST)} data sets: {list(cfg.DATASETS.TEST)}. Wanted is a list for each, in their order."
        )
    metadata = MetadataCatalog.get(dataset_name)
    names = metadata.get("prompt_classes") or metadata.get("stuff_classes", [])
    if not names:
        raise ValueError(f"The data set '{dataset_name}' of DATASETS.TEST has no classes: check the spelling.")
    index = list(cfg.DATASETS.TEST).index(dataset_name)
    return read_shared_classes(lists[index], names, cfg.MODEL.CLASS_NAMES)
