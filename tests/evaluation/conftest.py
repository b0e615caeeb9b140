from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from tests.support.evaluation import TINY_CLASSES, TinyDataset


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[TinyDataset]:
    random = np.random.default_rng(0)
    samples, labels = [], []
    for index, size in enumerate([(8, 12), (9, 5), (16, 16)]):
        label = random.integers(0, 3, size).astype(np.uint8)
        label[:2] = 255
        sample = {"file_name": str(tmp_path / f"{index}.jpg"), "sem_seg_file_name": str(tmp_path / f"{index}.png")}
        Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)).save(sample["file_name"])
        Image.fromarray(label).save(sample["sem_seg_file_name"])
        samples.append(sample)
        labels.append(label.astype(np.int64))
    name = f"tiny_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(stuff_classes=TINY_CLASSES, ignore_label=255, evaluator_type="sem_seg")
    yield TinyDataset(name, samples, labels)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
