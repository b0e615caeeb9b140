"""The converter by its command line: there and back, what it says, and what it leaves when it fails."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18
from torchvision.models.resnet import Bottleneck, ResNet

from icpc_d2.analysis.random_models import build_random, load_resolved_config
from icpc_d2.checkpoint import ICPCCheckpointer, load_text_encoder
from icpc_d2.tools.convert_checkpoint import main
from tests.support.checkpoints import (
    DENSECLIP,
    DENSECLIP_CLASSES,
    TINY_CONFIG,
    assert_equal,
    build_denseclip,
    deep_stem,
    make_clip,
    save_as_openai,
)
from tests.support.configs import CONFIGS
from tests.support.denseclip_shapes import TINY_R, make_weights


def run(
    kind: str, source: Any, target: Any, *options: Any, config: str = TINY_CONFIG, flags: tuple[str, ...] = ()
) -> None:
    main([kind, str(source), str(target), "--config-file", config, *flags, *map(str, options)])


def save_denseclip(path: Path, classes: list[str] | None = DENSECLIP_CLASSES, **changes: Tensor) -> dict[str, Tensor]:
    weights = make_weights(TINY_R) | changes
    meta = {} if classes is None else {"CLASSES": tuple(classes)}
    torch.save({"meta": meta, "state_dict": OrderedDict(weights), "optimizer": {}}, path)
    return weights


def test_denseclip_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    theirs, ours, back = (tmp_path / name for name in ("theirs.pth", "new/ours.pth", "back.pth"))
    weights = save_denseclip(theirs)
    run("denseclip", theirs, ours, *DENSECLIP)
    assert f"{ours}: {len(weights)} tensors of {theirs}; left out: none." in capsys.readouterr().out

    model = build_denseclip()
    ICPCCheckpointer(model, class_names=DENSECLIP_CLASSES).load(str(ours))
    torch.testing.assert_close(model.prompt.vectors, weights["contexts"][0], atol=0, rtol=0)

    run("denseclip", ours, back, *DENSECLIP, flags=("--reverse",))
    content = torch.load(back, weights_only=True)
    assert content["meta"]["CLASSES"] == DENSECLIP_CLASSES
    assert_equal(content["state_dict"], weights)


def test_what_is_left_out_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_denseclip(tmp_path / "in.pth", **{"auxiliary_head.conv_seg.bias": torch.zeros(1)})
    run("denseclip", tmp_path / "in.pth", tmp_path / "out.pth", *DENSECLIP)
    assert "left out: auxiliary_head.conv_seg.bias." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        (["sky", "bench", *DENSECLIP_CLASSES[2:]], (), r"1 differ .*: 1: 'bench' -> 'chest of drawers'"),
        (None, ("MODEL.PROMPT.NUM_CONTEXT", 9), r"prompt\.vectors: found the shape \(8, 64\)"),
        (
            None,
            ("MODEL.CLASS_NAMES", ["sky", "videocassette recorder", *DENSECLIP_CLASSES[2:]]),
            r"class 'video.* has 1[4-9] tokens",
        ),
        (None, ("MODEL.PROMPT.NAME", "icpc"), r"missing from the weights: prompt\.projector"),
    ],
)
def test_a_failure_leaves_the_file_that_was_there(
    classes: list[str] | None, options: tuple, message: str, tmp_path: Path
) -> None:
    save_denseclip(tmp_path / "in.pth", classes)
    (tmp_path / "out.pth").write_text("before")
    with pytest.raises(SystemExit, match=rf"(?s)error: .*{message}"):
        run("denseclip", tmp_path / "in.pth", tmp_path / "out.pth", *DENSECLIP, *options)
    assert (tmp_path / "out.pth").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pth", "out.pth"]


def test_denseclip_has_one_name_for_a_class(tmp_path: Path) -> None:
    options = [*DENSECLIP, "MODEL.CLASS_SYNONYMS", [["heaven"], [], [], [], []]]
    ICPCCheckpointer(build_denseclip(*options), str(tmp_path)).save("ours")
    with pytest.raises(SystemExit, match=r"DenseCLIP has one name for a class; .*'sky', 'heaven'"):
        run("denseclip", tmp_path / "ours.pth", tmp_path / "out.pth", *options, flags=("--reverse",))


def test_denseclip_has_no_room_for_long_names_either(tmp_path: Path) -> None:
    options = [*DENSECLIP, "MODEL.CLASS_NAMES", ["sky", "videocassette recorder"]]
    ICPCCheckpointer(build_denseclip(*options), str(tmp_path)).save("ours")
    with pytest.raises(SystemExit, match=r"The prompt of class 'videocassette recorder' has .* has 13 positions"):
        run("denseclip", tmp_path / "ours.pth", tmp_path / "out.pth", *options, flags=("--reverse",))


@pytest.mark.parametrize(
    ("kind", "target", "flags", "message"),
    [
        ("clip", "out.pth", ("--reverse",), "--reverse is for denseclip alone"),
        ("denseclip", "out.pkl", (), "ends in .pth"),
    ],
)
def test_command_lines_that_make_no_sense(
    kind: str, target: str, flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run(kind, "in.pth", target, flags=flags)
    assert message in capsys.readouterr().err


def test_openais_clip_without_torchscript(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_as_openai(make_clip("tiny-RN"), tmp_path / "clip.pt")
    run("clip", tmp_path / "clip.pt", tmp_path / "clip.pth", *DENSECLIP)
    left_out = capsys.readouterr().out.split("left out: ")[1].splitlines()[0]
    assert set(left_out.strip(".\n").split(", ")) == {
        "logit_scale",
        "input_resolution",
        "context_length",
        "vocab_size",
    }
    content = torch.load(tmp_path / "clip.pth", weights_only=True)
    assert content["quick_gelu"] is True  # so that a model with GELU goes on refusing them
    assert all(value.dtype == torch.float32 for value in content["model"].values())
    direct, converted = build_denseclip(), build_denseclip()
    ICPCCheckpointer(direct).load(str(tmp_path / "clip.pt"))
    ICPCCheckpointer(converted).load(str(tmp_path / "clip.pth"))
    assert_equal(converted.state_dict(), direct.state_dict())
    by_itself = build_denseclip()
    load_text_encoder(by_itself, str(tmp_path / "clip.pth"))
    assert_equal(by_itself.text_encoder.state_dict(), direct.text_encoder.state_dict())


@pytest.mark.parametrize("deep", [False, True])
def test_torchvisions_resnets_give_the_same_features(deep: bool, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    theirs = deep_stem(ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=8)) if deep else resnet18()
    theirs.eval()
    for name, value in theirs.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand_like(value) + 0.5)
    torch.save(theirs.state_dict(), tmp_path / "in.pth")
    plain = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", 18]
    plain += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "TEST.PAD_TO_STRIDE", True]
    options = ["MODEL.RESNETS.WIDTH_PER_GROUP", 8] if deep else plain
    config = str(CONFIGS / "ade20k/semantic_fpn_R50.yaml")
    run("imagenet", tmp_path / "in.pth", tmp_path / "out.pth", *options, config=config)
    assert "left out: fc.weight, fc.bias." in capsys.readouterr().out
    ours = build_random(load_resolved_config(config, options))
    ICPCCheckpointer(ours).load(str(tmp_path / "out.pth"))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = ours.backbone.bottom_up(images)
        x = theirs.stem(images) if deep else theirs.bn1(theirs.conv1(images)).relu()
        x = theirs.maxpool(x)
        for level, layer in (("res2", "layer1"), ("res3", "layer2"), ("res4", "layer3"), ("res5", "layer4")):
            x = getattr(theirs, layer)(x)
            torch.testing.assert_close(features[level], x, atol=1e-5, rtol=1e-4)
