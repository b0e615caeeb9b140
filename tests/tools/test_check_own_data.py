"""The checker says of data that would train to a wrong model what is wrong, with the file and the value."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.tools.check_dataset import command as check_dataset


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """Three pairs of two classes."""
    for kind in ("images", "labels"):
        (tmp_path / "mine" / kind / "train").mkdir(parents=True)
    for index in range(3):
        label = np.zeros((20, 30), np.uint8)
        label[:, 10 * index :] = 1
        label[0, 0] = 255
        Image.fromarray(label).save(tmp_path / f"mine/labels/train/{index}.png")
        Image.fromarray(np.stack([100 * label] * 3, axis=2)).save(tmp_path / f"mine/images/train/{index}.png")
    (tmp_path / "mine/classes.txt").write_text("sky\nroad\n")
    before = set(DatasetCatalog.list())
    yield tmp_path / "mine"
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def change(file: Path, function: Callable[[np.ndarray], np.ndarray], ending: str = ".png") -> None:
    pixels = function(np.array(Image.open(file)))
    file.unlink()
    Image.fromarray(pixels).save(file.with_suffix(ending))


def faults(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str, str, str, str]]:
    """(severity, kind, where, message) of each fault."""
    status = check_dataset.main([*arguments, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == bool(report["errors"])
    return [(level, f["kind"], f["where"], f["message"]) for level in ("errors", "warnings") for f in report[level]]


def mask_of_white(mine: Path) -> None:
    for file in (mine / "labels/train").iterdir():
        change(file, lambda label: (label > 0) * np.uint8(255))


def contradicting_palette(mine: Path) -> None:
    (mine / "classes.txt").write_text("sky | 0 0 200\nroad | 200 0 0\n")
    image = Image.open(mine / "labels/train/1.png").convert("P")
    image.putpalette([9, 9, 8, 7, 7, 6] + [0] * 762)
    image.save(mine / "labels/train/1.png")


def unknown_value(mine: Path) -> None:
    (mine / "classes.txt").write_text("sky | | | 0\nroad | | | 7\n")
    for index in range(2):
        change(mine / f"labels/train/{index}.png", lambda label: np.where(label == 1, 7, label).astype(np.uint8))


def no_white(mine: Path) -> None:
    change(mine / "images/train/2.png", lambda image: image[..., 0].astype(np.float32) * 7.5, ".tif")


def link_to_nowhere(mine: Path) -> None:
    os.symlink("nowhere.png", mine / "images/train/gone.png")


def nested(mine: Path) -> None:
    (mine / "images/train/town").mkdir()
    (mine / "images/train/0.png").rename(mine / "images/train/town/0.png")
    (mine / "labels/train/0.png").unlink()


@pytest.mark.parametrize(
    ("plant", "kind", "where", "message"),
    [
        (mask_of_white, "nothing to tell apart", "all label maps", "'sky' alone, and .* pixels are ignored"),
        (contradicting_palette, "unreadable label map", "labels/train/1.png", r"a palette of the colours .*\(9 9 8\)"),
        (unknown_value, "unreadable label map", "labels/train/2.png", r"values \[1\], wanted .*: 0, 7, 255, 65535"),
        (no_white, "unreadable image", "images/train/2.tif", "float32 with values from 0 to 1170, .*--value-range"),
        (lambda mine: (mine / "classes.txt").write_text("id,name\n0,sky"), "data set", "folder:", "line 1.*head of a"),
        (
            lambda mine: (mine / "classes.txt").write_text("ignore\nsky"),
            "data set",
            "folder:",
            "line 1: 'ignore' is no",
        ),
        (link_to_nowhere, "link that leads nowhere", "images/train/gone.png", "not be used"),
        (nested, "image without label map", "images/train/town/0.png", "not be used"),
    ],
)
def test_errors(
    mine: Path, capsys: pytest.CaptureFixture[str], plant: Callable, kind: str, where: str, message: str
) -> None:
    assert faults(capsys, f"folder:{mine}/train") == []
    plant(mine)
    found = [fault for fault in faults(capsys, f"folder:{mine}/train") if fault[0] == "errors"]
    assert [(fault[1], where in fault[2]) for fault in found] == [(kind, True)]
    assert re.search(message, found[0][3]), found


def test_a_dark_image_and_the_range_that_it_has(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(mine / "images/train/2.png", lambda image: image[..., 0].astype(np.uint16) * 40)
    dark = [fault for fault in faults(capsys, f"folder:{mine}/train") if fault[1] == "image too dark"]
    assert [(fault[0], Path(fault[2]).name) for fault in dark] == [("warnings", "2.png")]
    assert "found no value above 6240 where white is 65535" in dark[0][3]
    found = faults(capsys, f"folder:{mine}/train", "--value-range", "0", "8191")
    assert [fault[1] for fault in found] == ["image 16-bit"]


def test_classes_are_compared_with_another_set(mine: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.symlink(mine / "images", tmp_path / "images")
    os.symlink(mine / "labels", tmp_path / "labels")
    arguments = (f"folder:{tmp_path}/train", "--against", f"folder:{mine}/train")
    for text, kinds in (("sky\nroad", []), ("road\nsky", ["order of classes"]), ("sky\nroof", ["other classes"])):
        (tmp_path / "classes.txt").write_text(text)
        found = faults(capsys, *arguments)
        assert [fault[1] for fault in found] == kinds
    assert "1: 'roof' -> 'road'" in found[0][3]


def test_suffixes(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (mine / "labels/train").iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    assert {fault[1] for fault in faults(capsys, f"folder:{mine}/train")} >= {"no pairs"}
    assert faults(capsys, f"folder:{mine}/train", "--suffixes", "", "_mask") == []
