"""A data set and a config to evaluate with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode, get_cfg

from icpc_d2.config import add_icpc_config

TINY_CLASSES = ["sky", "road", "car", "boat"]  # no label shows a boat


@dataclass
class TinyDataset:
    """Three pictures on disk with labels in memory; 255 is ignored."""

    name: str
    samples: list[dict[str, str]]
    labels: list[np.ndarray]


def evaluation_cfg(output_dir: Path, *datasets: str, **sem_seg: object) -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.OUTPUT_DIR = str(output_dir)
    cfg.DATASETS.TEST = datasets
    cfg.TEST.SEM_SEG.update(sem_seg)
    return cfg
