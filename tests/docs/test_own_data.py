"""docs/own_data.md: its commands, run as they stand on a folder made here (but for fewer and smaller iterations)."""

import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.datasets import label_map, random_image, save
from tests.support.documents import SMALL, commands_of, read, run, run_small, snippet
from tests.support.results import read_results

TEXT = read("docs/own_data.md")


@pytest.fixture
def mine(clone: Path) -> Path:
    """A folder data set whose training labels are ids and validation labels colours."""
    folder = clone / "mine"
    colors = np.array([[70, 130, 180], [128, 64, 128], [40, 140, 40]], np.uint8)
    for split, count in (("train", 5), ("val", 2)):
        for number in range(count):
            ids = label_map(3)
            save(folder / f"images/{split}/{number}.jpg", random_image())
            save(folder / f"labels/{split}/{number}.png", ids if split == "train" else colors[ids])
    (folder / "classes.txt").write_text(snippet(TEXT, "classes.txt"))
    return folder


def test_from_a_folder_to_a_trained_model(
    clone: Path, mine: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    *commands, evaluation, fine_tuning = commands_of("docs/own_data.md")
    assert len(commands) == 4
    for command in [*commands, evaluation]:
        if "configs/ade20k" in command:
            run_small(command, monkeypatch)
        else:
            options = [*SMALL, "TEST.EVAL_PERIOD", "2"] if "train_net.py" in command else []
            run(command, monkeypatch, options)
    assert len(list((clone / "checked").glob("*.png"))) == 5
    results = read_results(clone / "output/mine")
    assert {"mIoU", "IoU-sky", "IoU-road", "IoU-tree"} <= results.keys()
    assert read_results(clone / "output/mine_again") == results
    assert read_results(clone / "output/mine_R50").keys() == results.keys()

    # From a model of two other classes.
    write_checkpoint(clone / "output/quickstart", tiny_cfg("MODEL.CLASS_NAMES", ["car", "sky", "boat"]))
    run(fine_tuning, monkeypatch, SMALL)
    assert read_results(clone / "output/mine_tuned").keys() == results.keys()
    assert re.search(r"sky +0 +1 +carried over", (clone / "output/mine_tuned/log.txt").read_text())

    # The same weights on another list of classes: the error of the last section.
    (mine / "classes.txt").write_text(snippet(TEXT, "classes.txt").replace("tree", "bush"))
    for name in ("folder:mine/train", "folder:mine/val"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    with pytest.raises(ValueError, match=r"1 differ \(id: weights -> data\): 2: 'tree' -> 'bush'"):
        run(evaluation, monkeypatch, SMALL)


def test_the_folder_of_the_fine_tuning_figures(clone: Path) -> None:
    exec(snippet(TEXT, "few").replace('{"train": 20, "val": 60}', '{"train": 2, "val": 1}'), {})
    labels = [np.asarray(Image.open(file)) for file in (clone / "few" / "labels").rglob("*.png")]
    assert [label.shape for label in labels] == [(160, 208)] * 3
    assert set(np.unique(labels)) <= {*range(6), 255} and len(np.unique(labels)) > 4
    assert len((clone / "few" / "classes.txt").read_text().split("\n")) == 6


def test_from_python(mine: Path, forgetful: None) -> None:
    exec(snippet(TEXT, "python"), {})
    assert len(DatasetCatalog.get("mine_train")) == 5
    assert MetadataCatalog.get("mine_val").stuff_classes == ["sky", "road", "tree"]
