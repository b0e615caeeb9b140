"""A place that looks like a clone, with data sets of a few small pictures where the documents say they are."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.data import datasets
from icpc_d2.data.scenes import dataset as scenes
from tests.documents import place

DATASETS = Path(os.environ["DETECTRON2_DATASETS"])


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def label_map(num_ids: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Squares of 16 pixels, each of some id below `num_ids`."""
    ids = np.random.default_rng(0).integers(0, num_ids, (height // 16, width // 16), np.uint8)
    return ids.repeat(16, 0).repeat(16, 1)


@pytest.fixture
def clone(tmp_path: Path, logs_as_before: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with the project in it and a folder ``datasets`` where data sets are looked for."""
    place(tmp_path)
    (tmp_path / "datasets").symlink_to(DATASETS)
    monkeypatch.chdir(tmp_path)
    before = set(DATASETS.iterdir())
    yield tmp_path
    for path in set(DATASETS.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def few_scenes(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of generated pictures in place of all of them."""
    monkeypatch.setattr(scenes, "SPLITS", {"train": 4, "val": 5})


@pytest.fixture
def ade20k(clone: Path) -> Path:
    """The official archive with four training and two validation pictures."""
    archive = clone / "archive.zip"
    with zipfile.ZipFile(archive, "w") as members:
        for split, name, count in (("training", "train", 4), ("validation", "val", 2)):
            for number in range(1, count + 1):
                stem = f"ADE_{name}_{number:08d}"
                label = label_map(151)
                label[:16] = 3
                save(clone / "image.jpg", picture())
                save(clone / "label.png", label)
                members.write(clone / "image.jpg", f"ADEChallengeData2016/images/{split}/{stem}.jpg")
                members.write(clone / "label.png", f"ADEChallengeData2016/annotations/{split}/{stem}.png")
    return archive


@pytest.fixture
def camvid(clone: Path) -> None:
    """SegNet's edition of CamVid with four training and two validation frames."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save(clone / f"datasets/CamVid/{split}/{number}.png", picture())
            save(clone / f"datasets/CamVid/{split}annot/{number}.png", label_map(12))


def save_folder_dataset(folder: Path, num_classes: int = 3) -> None:
    """Write one training and one validation picture."""
    for split in ("train", "val"):
        save(folder / f"images/{split}/one.jpg", picture())
        save(folder / f"labels/{split}/one.png", label_map(num_classes))


def save_prepared(root: Path, wanted: set[str]) -> None:
    """Write two pictures of each registered split, as its preparation leaves them."""
    for row in datasets.DATASETS:
        for split, folder in row.splits.items():
            if row.name.format(split) in wanted:
                for index in range(2):
                    save(root / row.images.format(folder) / f"{index}.{row.image_ext}", picture())
                    save(root / row.labels.format(folder) / f"{index}.{row.label_ext}", label_map(3))


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Catalogs that forget what is registered in the meantime."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
