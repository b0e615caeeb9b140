"""Registration: names, metadata, and getting along with others who use the same names."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES
from PIL import Image

from icpc_d2.data import datasets
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.datasets import DATASETS, SemSegDataset, register_all, register_dataset


def toy(name: str) -> SemSegDataset:
    return SemSegDataset(
        name=name + "_{}",
        classes="camvid_11",
        folder="",
        images="toy/{}",
        labels="toy_labels/{}",
        splits={"train": "a"},
        prepare="do it",
    )


@pytest.fixture
def forget() -> Callable[[str], str]:
    names = []
    yield lambda name: names.append(name) or name
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    # Detectron2's loggers do not pass on what they get, so the handler is set where the messages are written.
    datasets.logger.addHandler(caplog.handler)
    caplog.set_level(logging.WARNING)
    yield caplog
    datasets.logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_every_split_is_registered(dataset: SemSegDataset) -> None:
    for split in dataset.splits:
        metadata = MetadataCatalog.get(f"{dataset.name.format(split)}")
        assert f"{dataset.name.format(split)}" in DatasetCatalog.list()
        assert metadata.prompt_classes == read_class_list(dataset.classes).prompt_names
        assert len(metadata.stuff_classes) == len(metadata.prompt_classes)
        assert (metadata.ignore_label, metadata.evaluator_type) == (dataset.ignore_label, "sem_seg")


def test_detectron2s_own_set_gets_prompt_names_and_nothing_else() -> None:
    metadata = MetadataCatalog.get("ade20k_sem_seg_val")
    assert metadata.stuff_classes == ADE20K_SEM_SEG_CATEGORIES
    assert "stuff_colors" not in metadata.as_dict()


def test_registering_again_changes_nothing(warnings: pytest.LogCaptureFixture) -> None:
    before = {name: MetadataCatalog.get(name).as_dict().copy() for name in DatasetCatalog.list()}
    register_all("/elsewhere")
    assert {name: MetadataCatalog.get(name).as_dict() for name in DatasetCatalog.list()} == before
    assert warnings.records == []


def test_foreign_set_with_our_classes_is_shared(register: Callable[..., str]) -> None:
    register("shared_train", stuff_classes=read_class_list("camvid_11").names, ignore_label=255)
    register_dataset(toy("shared"), "/nowhere")
    assert DatasetCatalog.get("shared_train") == []  # theirs
    assert MetadataCatalog.get("shared_train").prompt_classes == read_class_list("camvid_11").prompt_names


@pytest.mark.parametrize(
    "metadata",
    [
        {"stuff_classes": ["sky", "road"], "ignore_label": 255},
        {"stuff_classes": list(reversed(read_class_list("camvid_11").names)), "ignore_label": 255},
        {"stuff_classes": read_class_list("camvid_11").names, "ignore_label": 11},
        {},
    ],
    ids=["other count", "other order", "other ignore label", "no classes"],
)
def test_foreign_set_with_other_classes_is_left_alone(
    register: Callable[..., str], warnings: pytest.LogCaptureFixture, metadata: dict[str, object]
) -> None:
    register("foreign_train", **metadata)
    register_dataset(toy("foreign"), "/nowhere")
    assert "prompt_classes" not in MetadataCatalog.get("foreign_train").as_dict()
    assert "foreign_train is already registered" in warnings.text


def test_pairs_are_listed(tmp_path: Path, forget: Callable[[str], str]) -> None:
    register_dataset(toy("listed"), str(tmp_path))
    name = forget("listed_train")
    for folder, ending in (("toy", "jpg"), ("toy_labels", "png")):
        (tmp_path / folder / "a").mkdir(parents=True)
        for stem in ("2", "1"):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / folder / "a" / f"{stem}.{ending}")
    assert DatasetCatalog.get(name) == [
        {
            "file_name": str(tmp_path / "toy/a" / f"{stem}.jpg"),
            "sem_seg_file_name": str(tmp_path / "toy_labels/a" / f"{stem}.png"),
        }
        for stem in ("1", "2")
    ]


def test_missing_data_names_the_folder_and_the_command(tmp_path: Path, forget: Callable[[str], str]) -> None:
    register_dataset(toy("missing"), str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no folder .*toy/a\. Run `icpc prepare do it`"):
        DatasetCatalog.get(forget("missing_train"))


def test_missing_data_of_detectron2s_own_set_names_our_command() -> None:
    with pytest.raises(FileNotFoundError, match="Run `icpc prepare ade20k`"):
        DatasetCatalog.get("ade20k_sem_seg_val")
