"""The sets made of generated scenes: few labels, other styles, and captions on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from icpc_d2.data import datasets, read_image, read_label
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.scenes import captioned_dataset
from icpc_d2.data.scenes import dataset as scenes
from icpc_d2.data.scenes.captioned import draw_captioned_scene
from icpc_d2.data.scenes.dataset import draw_scene
from icpc_d2.tools.check_dataset.command import main as check

NAMES = read_class_list("scenes_10").prompt_names
STYLED = ("night", "line_drawing", "snow")


def row_of(name: str) -> datasets.SemSegDataset:
    (row,) = (row for row in datasets.DATASETS if row.name == name)
    return row


def test_sets_are_registered_with_the_ten_classes() -> None:
    names = ["scenes_captioned_sem_seg_train", "scenes_captioned_sem_seg_val"]
    names += [
        "scenes_20_sem_seg_train",
        "scenes_60_sem_seg_train",
        *(f"scenes_{style}_sem_seg_val" for style in STYLED),
    ]
    assert {*names} <= {*DatasetCatalog.list()}
    for name in names:
        assert MetadataCatalog.get(name).prompt_classes == NAMES
        assert MetadataCatalog.get(name).ignore_label == scenes.IGNORE_LABEL
    # Nothing to train on in the styles that are tested, and nothing to test on in the few labels.
    assert not {f"scenes_{style}_sem_seg_train" for style in STYLED} & {*DatasetCatalog.list()}
    assert not {"scenes_20_sem_seg_val", "scenes_60_sem_seg_val"} & {*DatasetCatalog.list()}


@pytest.mark.parametrize("count", [20, 60])
def test_few_labels_are_the_first_ones(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw_marked(seed: tuple[int, int], style: str) -> tuple[np.ndarray, np.ndarray]:
        return np.full((4, 4, 3), seed[1] % 256, np.uint8), np.zeros((4, 4), np.uint8)

    monkeypatch.setattr(scenes, "draw_scene", draw_marked)
    pairs = datasets.load_dataset(row_of(f"scenes_{count}_sem_seg_{{}}"), str(tmp_path), "train")
    everything = datasets.load_dataset(row_of("scenes_sem_seg_{}"), str(tmp_path), "train")
    assert pairs == everything[:count]
    assert len(everything) == 360
    assert [read_image(pair["file_name"])[0, 0, 0] for pair in pairs] == list(range(count))


def test_few_labels_show_every_class() -> None:
    seen = np.unique(np.stack([draw_scene((0, index))[1] for index in range(20)]))
    assert {*range(len(NAMES))} <= {*seen}


def test_icpc_check_reads_the_few_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": 3, "val": 1})
    row = datasets.SemSegDataset(
        "few_scenes_sem_seg_{}",
        "scenes_10",
        scenes.FOLDER,
        "images/{}",
        "annotations/{}",
        splits={"train": "train"},
        first=2,
        generate=scenes.make_scenes,
    )
    datasets.register_dataset(row, str(tmp_path))
    try:
        assert check(["few_scenes_sem_seg_train"]) == 0
    finally:
        DatasetCatalog.remove("few_scenes_sem_seg_train")
        MetadataCatalog.remove("few_scenes_sem_seg_train")
    assert "2 pairs of image and label map" in capsys.readouterr().out


def test_styles_are_the_scenes_of_the_validation_with_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": 1, "val": 3})
    by_day = datasets.load_dataset(row_of("scenes_sem_seg_{}"), str(tmp_path), "val")
    brightness = {"day": np.mean([read_image(pair["file_name"]).mean() for pair in by_day])}
    for style in STYLED:
        pairs = datasets.load_dataset(row_of(f"scenes_{style}_sem_seg_{{}}"), str(tmp_path), "val")
        assert len(pairs) == len(by_day)
        for pair, day in zip(pairs, by_day, strict=True):
            label = read_label(pair["sem_seg_file_name"])
            np.testing.assert_array_equal(label, read_label(day["sem_seg_file_name"]))
        brightness[style] = np.mean([read_image(pair["file_name"]).mean() for pair in pairs])
    assert brightness["night"] < 0.7 * brightness["day"]
    assert brightness["snow"] > 1.15 * brightness["day"]
    assert brightness["line_drawing"] > 1.3 * brightness["day"]


def test_captions_lie_beside_their_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioned_dataset, "CAPTIONED_SPLITS", {"train": 2, "val": 2})
    pairs = datasets.load_dataset(row_of("scenes_captioned_sem_seg_{}"), str(tmp_path), "val")
    words = json.loads((tmp_path / captioned_dataset.CAPTIONED_FOLDER / "captions" / "val.json").read_text())
    assert [*words] == ["0000", "0001"]
    for index, pair in enumerate(pairs):
        scene = draw_captioned_scene((3, index))
        np.testing.assert_array_equal(read_label(pair["sem_seg_file_name"]), scene.labels)
        found = words[Path(pair["file_name"]).stem]
        assert tuple(found["captions"]) == scene.captions
        for described, thing in zip(found["things"], scene.things, strict=True):
            left, top, right, bottom = described["box"]
            assert thing.mask[top:bottom, left:right].sum() == thing.mask.sum()
            assert (described["kind"], described["color"]) == (thing.kind, thing.color)
