"""ImageNet ResNets of other projects: names, and pickles that are read without being executed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from icpc_d2.checkpoint.imagenet import read_imagenet, rename_torchvision


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.weight", "stem.conv1.weight"),
        ("bn1.running_var", "stem.conv1.norm.running_var"),
        ("stem.0.weight", "stem.conv1.weight"),
        ("stem.4.bias", "stem.conv2.norm.bias"),
        ("layer1.0.downsample.0.weight", "res2.0.shortcut.weight"),
        ("layer4.2.downsample.1.num_batches_tracked", "res5.2.shortcut.norm.num_batches_tracked"),
        ("layer3.22.bn3.weight", "res4.22.conv3.norm.weight"),
        ("res2.0.conv2.norm.weight", "res2.0.conv2.norm.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert rename_torchvision(theirs) == ours


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = {"res2.0.conv1.weight": array, "stem.fc.weight": array, "count": np.int64(3)}
    file = tmp_path / "R-50.pkl"
    file.write_bytes(pickle.dumps({"model": model, "__author__": "torchvision"}, protocol))
    content, dropped = read_imagenet(str(file))
    assert dropped == ["stem.fc.weight"]
    assert content["__author__"] == "torchvision" and content["matching_heuristics"]
    torch.testing.assert_close(content["model"]["res2.0.conv1.weight"], torch.from_numpy(array))
    assert content["model"]["count"] == 3


def test_pickles_of_caffe2_keep_their_names(tmp_path: Path) -> None:
    file = tmp_path / "R-50.pkl"
    file.write_bytes(pickle.dumps({"res2_0_branch2a_w": np.ones(2), "fc1000_w": np.ones(2)}))
    content, dropped = read_imagenet(str(file))
    assert list(content["model"]) == ["res2_0_branch2a_w"]
    assert dropped == ["fc1000_w"]
    assert content["__author__"] == "Caffe2"


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    trace, file = tmp_path / "executed", tmp_path / "evil.pkl"
    objects = np.array([Exploit(trace)], dtype=object)
    for content in (Exploit(trace), {"model": {"a": Exploit(trace)}}, {"model": {"a": objects}}):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"evil\.pkl cannot be read .* it holds .*, wanted are arrays"):
            read_imagenet(str(file))
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04K", pickle.dumps([1, 2]), pickle.dumps({"model": {"a": "text"}})])
def test_other_pickles_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.pkl cannot be read as weights of Detectron2's model zoo: \S+"):
        read_imagenet(str(tmp_path / "bad.pkl"))
