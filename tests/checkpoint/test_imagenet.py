"""ImageNet ResNets of other projects: names, and pickles that are read without being executed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from detectron2.modeling import build_model
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.imagenet import is_classifier, is_resnet, read_imagenet, rename_torchvision
from tests.support.checkpoints import deep_stem
from tests.support.models import make_cfg


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.weight", "stem.conv1.weight"),
        ("bn1.running_var", "stem.conv1.norm.running_var"),
        ("stem.0.weight", "stem.conv1.weight"),
        ("stem.4.bias", "stem.conv2.norm.bias"),
        ("layer1.0.downsample.0.weight", "res2.0.shortcut.weight"),
        ("layer4.2.downsample.1.num_batches_tracked", "res5.2.shortcut.norm.num_batches_tracked"),
        ("conv1.3.weight", "stem.conv2.weight"),
        ("conv1.4.running_mean", "stem.conv2.norm.running_mean"),
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


def openmmlabs() -> nn.Module:
    return deep_stem(ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=8))


def timms(**changes: object) -> nn.Module:
    stem = {"stem_width": 32, "stem_type": "deep"}
    return timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, [3, 4, 6, 3], base_width=8, **(stem | changes))


def with_statistics(network: nn.Module) -> nn.Module:
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand_like(value) + 0.5)
    return network.eval()


@pytest.mark.parametrize("source", ["openmmlab", "mmpretrain", "timm"])
def test_model_weights_takes_each_of_them_as_it_is(source: str, tmp_path: Path) -> None:
    """The features are those of the network that the file was written from."""
    theirs = with_statistics(timms() if source == "timm" else openmmlabs())
    prefix = "backbone." if source == "mmpretrain" else ""
    weights = {prefix + name: value for name, value in theirs.state_dict().items()}
    if prefix:
        weights = {name.replace("backbone.fc.", "head.fc."): value for name, value in weights.items()}
    torch.save({"meta": {"epoch": np.int64(1)}, "state_dict": weights}, tmp_path / "resnet.pth")
    model = build_model(make_cfg("ade20k/semantic_fpn_R50.yaml", "MODEL.RESNETS.WIDTH_PER_GROUP", 8)).eval()
    ICPCCheckpointer(model).load(str(tmp_path / "resnet.pth"))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = model.backbone.bottom_up(images)
        if source == "timm":
            x = theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(images))))
        else:
            x = theirs.maxpool(theirs.stem(images))
        for level, layer in (("res2", "layer1"), ("res3", "layer2"), ("res4", "layer3"), ("res5", "layer4")):
            x = getattr(theirs, layer)(x)
            torch.testing.assert_close(features[level], x, atol=1e-5, rtol=1e-4)


def test_the_other_stem_is_named_with_its_key(tmp_path: Path) -> None:
    torch.save(ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=8).state_dict(), tmp_path / "resnet50.pth")
    small = ("MODEL.RESNETS.WIDTH_PER_GROUP", 8)
    model = build_model(make_cfg("ade20k/semantic_fpn_R50.yaml", *small))
    with pytest.raises(ValueError, match=r"one 7x7 convolution, the model's is three .*STEM_TYPE basic"):
        ICPCCheckpointer(model).load(str(tmp_path / "resnet50.pth"))
    basic = build_model(make_cfg("ade20k/semantic_fpn_R50.yaml", *small, "MODEL.RESNETS.STEM_TYPE", "basic"))
    ICPCCheckpointer(basic).load(str(tmp_path / "resnet50.pth"))
    torch.save(openmmlabs().state_dict(), tmp_path / "v1c.pth")
    with pytest.raises(ValueError, match=r"three 3x3 .*, the model's is one 7x7 .*STEM_TYPE deeplab"):
        ICPCCheckpointer(basic).load(str(tmp_path / "v1c.pth"))


def test_what_is_no_imagenet_resnet_is_not_taken_for_one() -> None:
    assert is_resnet(["layer1.0.conv1.weight", "fc.weight"])
    assert is_resnet(["backbone.layer1.0.conv1.weight", "head.fc.weight"])
    assert not is_resnet(["backbone.layer1.0.conv1.weight", "decode_head.conv_seg.weight"])
    assert not is_resnet(["visual.layer1.0.conv1.weight"])


@pytest.mark.parametrize("name", ["layer1.0.se.fc1.weight", "backbone.layer4.2.se.fc2.bias", "res2.0.se.fc.weight"])
def test_squeeze_and_excitation_is_no_classifier(name: str) -> None:
    """It is part of what a file's network computes: to leave it out would be a wrong result without a word."""
    assert not is_classifier(name)
    assert all(map(is_classifier, ("fc.weight", "head.fc.bias", "backbone.fc.weight", "stem.fc.weight", "fc1000_w")))


def test_a_network_with_squeeze_and_excitation_is_refused(tmp_path: Path) -> None:
    torch.save(timms(block_args={"attn_layer": "se"}).state_dict(), tmp_path / "seresnet50.pth")
    model = build_model(make_cfg("ade20k/semantic_fpn_R50.yaml", "MODEL.RESNETS.WIDTH_PER_GROUP", 8))
    with pytest.raises(ValueError, match=r"64 not in the model: res2\.0\.se\.fc1\.bias"):
        ICPCCheckpointer(model).load(str(tmp_path / "seresnet50.pth"))
