"""A small model with random weights, saved as training leaves it."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model

from icpc_d2 import add_icpc_config
from icpc_d2.checkpoint import WeightsCheckpointer
from icpc_d2.config import get_config_file

CLASSES = ["sky", "tree", "chest of drawers", "car"]


def tiny_cfg(*options: Any, config: str = "quickstart/icpc_tiny.yaml") -> CfgNode:
    """A config for :data:`CLASSES` on the CPU, changed by KEY VALUE pairs."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(get_config_file(config))
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.DEVICE, cfg.MODEL.SEM_SEG_HEAD.NORM = CLASSES, "cpu", "BN"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.merge_from_list(list(options))
    return cfg


def write_checkpoint(folder: Path, cfg: CfgNode) -> Path:
    """Write ``config.yaml`` and ``model_final.pth``; return the path of the latter."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():
        # As they start, all pixels look alike to the classifier.
        for parameter in model.sem_seg_head.predictor.parameters():
            parameter.mul_(50)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(cfg.dump())
    WeightsCheckpointer(model, str(folder), class_names=cfg.MODEL.CLASS_NAMES).save("model_final")
    return folder / "model_final.pth"
