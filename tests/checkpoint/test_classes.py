"""A checkpoint knows its classes and is refused by a model of others."""

from pathlib import Path

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer


def checkpointer(folder: Path, names: list[str]) -> ICPCCheckpointer:
    return ICPCCheckpointer(nn.Linear(2, 2), str(folder), class_names=names)


def test_class_names_are_saved_and_the_same_ones_accepted(tmp_path: Path) -> None:
    ours = checkpointer(tmp_path, ["sky", "road"])
    ours.save("model", iteration=7)
    assert torch.load(tmp_path / "model.pth", weights_only=True)["class_names"] == ["sky", "road"]
    theirs = checkpointer(tmp_path, ["sky", "road"])
    rest = theirs.load(str(tmp_path / "model.pth"))
    assert rest["iteration"] == 7
    torch.testing.assert_close(theirs.model.weight, ours.model.weight)


def test_differing_classes_are_listed_before_anything_is_loaded(tmp_path: Path) -> None:
    checkpointer(tmp_path, ["sky", "road", "tree"]).save("model")
    other = checkpointer(tmp_path, ["sky", "street"])
    before = other.model.weight.clone()
    with pytest.raises(
        ValueError, match=r"3 classes, .* has 2\. 2 differ .*: 1: 'road' -> 'street', 2: 'tree' -> '\(none\)'"
    ):
        other.load(str(tmp_path / "model.pth"))
    torch.testing.assert_close(other.model.weight, before)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    checkpointer(tmp_path, [f"a{k}" for k in range(30)]).save("model")
    with pytest.raises(ValueError, match=r"30 differ .*, 19: 'a19' -> 'b19', and 10 more\. Use a data set"):
        checkpointer(tmp_path, [f"b{k}" for k in range(30)]).load(str(tmp_path / "model.pth"))


def test_without_names_nothing_is_compared(tmp_path: Path) -> None:
    checkpointer(tmp_path, []).save("model")
    assert "class_names" not in torch.load(tmp_path / "model.pth", weights_only=True)
    checkpointer(tmp_path, ["sky"]).load(str(tmp_path / "model.pth"))
    checkpointer(tmp_path, ["sky"]).save("named")
    checkpointer(tmp_path, []).load(str(tmp_path / "named.pth"))
    DetectionCheckpointer(nn.Linear(2, 2)).load(str(tmp_path / "named.pth"))
