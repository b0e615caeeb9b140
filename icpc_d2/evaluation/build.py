"""The only place where the config turns into evaluators."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from icpc_d2.evaluation.pictures import PictureWriter
from icpc_d2.evaluation.sem_seg import SemSegEvaluator


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """Build what evaluates one data set of ``DATASETS.TEST``, by its metadata's ``evaluator_type``.

    Raises:
        ValueError: the data set is not one of semantic segmentation.
    """
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if evaluator_type != "sem_seg":
        raise ValueError(
            f"The data set '{dataset_name}' has evaluator_type {evaluator_type!r} in its metadata, wanted 'sem_seg'."
        )
    evaluators: list[DatasetEvaluator] = [
        SemSegEvaluator(
            dataset_name,
            predictions_dir=_folder(cfg, "inference", dataset_name) if cfg.TEST.SEM_SEG.SAVE_PREDICTIONS else None,
            boundary_iou=cfg.TEST.SEM_SEG.BOUNDARY_IOU,
        )
    ]
    if cfg.TEST.SEM_SEG.NUM_PICTURES > 0:
        folder = _folder(cfg, "pictures", dataset_name)
        evaluators.append(PictureWriter(dataset_name, folder, cfg.TEST.SEM_SEG.NUM_PICTURES))
    return DatasetEvaluators(evaluators)


def _folder(cfg: CfgNode, name: str, dataset_name: str) -> str:
    """A folder of the output folder; several data sets get one each."""
    folder = os.path.join(cfg.OUTPUT_DIR, name)
    return os.path.join(folder, dataset_name) if len(cfg.DATASETS.TEST) > 1 else folder
