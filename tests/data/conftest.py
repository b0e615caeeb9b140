"""Small images and label maps on disk, and a config for crops of 64 x 96."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.config import add_icpc_config

NUM_CLASSES = 4


@pytest.fixture
def label() -> np.ndarray:
    """(60, 80) uint8: four large blobs and some ignored pixels."""
    label = np.zeros((60, 80), np.uint8)
    label[:30, 40:] = 1
    label[30:, :25] = 2
    label[40:, 50:] = 3
    label[:6, :10] = 255
    return label


@pytest.fixture
def image() -> np.ndarray:
    """(60, 80, 3) uint8 RGB."""
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def pair(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> dict[str, str]:
    """The dataset dict of one image and its label map."""
    files = {"file_name": str(tmp_path / "picture.png"), "sem_seg_file_name": str(tmp_path / "label.png")}
    Image.fromarray(image).save(files["file_name"])
    Image.fromarray(label).save(files["sem_seg_file_name"])
    return files


@pytest.fixture
def register(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Register an empty data set for the time of a test: ``register(name, **metadata)``."""

    def register_one(name: str, **metadata: object) -> str:
        DatasetCatalog.register(name, lambda: [])
        MetadataCatalog.get(name).set(**metadata)
        request.addfinalizer(lambda: (DatasetCatalog.remove(name), MetadataCatalog.remove(name)))
        return name

    return register_one


@pytest.fixture
def cfg(register: Callable[..., str]) -> CfgNode:
    """The paper's input settings at an eighth of their size, on a set of four classes."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    names = [f"class {k}" for k in range(NUM_CLASSES)]
    cfg.DATASETS.TRAIN = (register("mapper_test", stuff_classes=names, ignore_label=255),)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (64,)
    cfg.INPUT.MAX_SIZE_TRAIN = 256
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.INPUT.MAX_SIZE_TEST = 256
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [64, 96]
    cfg.MODEL.PIXEL_MEAN = [122.77, 116.75, 104.09]
    return cfg
