"""A place that looks like a clone, with data sets of a few small pictures where the documents say they are."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from icpc_d2.data.scenes import dataset as scenes
from tests.support.datasets import label_map, random_image, save
from tests.support.documents import place

DATASETS = Path(os.environ["DETECTRON2_DATASETS"])


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
                save(clone / "image.jpg", random_image())
                save(clone / "label.png", label)
                members.write(clone / "image.jpg", f"ADEChallengeData2016/images/{split}/{stem}.jpg")
                members.write(clone / "label.png", f"ADEChallengeData2016/annotations/{split}/{stem}.png")
    return archive


@pytest.fixture
def camvid(clone: Path) -> None:
    """SegNet's edition of CamVid with four training and two validation frames."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save(clone / f"datasets/CamVid/{split}/{number}.png", random_image())
            save(clone / f"datasets/CamVid/{split}annot/{number}.png", label_map(12))


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Catalogs that forget what is registered in the meantime."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
