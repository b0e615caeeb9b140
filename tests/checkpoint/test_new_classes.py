"""Fine-tuning to other classes: what a checkpoint knows of a class goes where the class is in the new model."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icpc_d2.checkpoint import ICPCCheckpointer, WeightsCheckpointer, new_classes
from icpc_d2.checkpoint.new_classes import class_axes, shared_ids
from tests.support.checkpoints import make_model
from tests.support.models import make_batch

OLD = ["sky", "road", "car", "tree"]
SINGLE_SCALE = ("MODEL.ALIGNMENT.MULTI_SCALE", False, "MODEL.ALIGNMENT.LOSS_SCALES", [])
BASELINE = ("MODEL.META_ARCHITECTURE", "SemanticFPN", "MODEL.BACKBONE.NAME", "build_fpn_backbone")
KINDS: dict[str, tuple] = {"icpc": (), "plain": ("MODEL.FAST", False), "denseclip": SINGLE_SCALE}


def build(names: list[str], seed: int, *options: Any) -> nn.Module:
    torch.manual_seed(seed)
    classes = ("MODEL.CLASS_NAMES", names, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", len(names))
    model = make_model("resnet", *classes, *options).eval()
    with torch.no_grad():  # nothing is zero or an identity, as it is at the start
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return model


def fine_tune(folder: Path, old: nn.Module, names: list[str], *options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model of the new classes with the weights of the old one, and its state before."""
    WeightsCheckpointer(old, str(folder), class_names=OLD).save("old")
    new = build(names, 1, *options)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    ICPCCheckpointer(new, class_names=names, new_classes=True).resume_or_load(str(folder / "old.pth"), resume=False)
    return new, before


def logits(model: nn.Module) -> Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        return model(make_batch((64, 96), num_classes=4))[0]["sem_seg"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_classes_in_another_order_are_the_same_model(kind: str, tmp_path: Path) -> None:
    old = build(OLD, 0, *KINDS[kind])
    order = [2, 0, 3, 1]
    new, _ = fine_tune(tmp_path, old, [OLD[index] for index in order], *KINDS[kind])
    wanted = logits(old)
    assert (wanted.std(dim=0) > 1e-3).all()
    torch.testing.assert_close(logits(new), wanted[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_of_known_classes_are_kept_and_of_new_ones_the_models_own(kind: str, tmp_path: Path) -> None:
    old = build(OLD, 0, *KINDS[kind])
    names = ["boat", "Tree", "sky", "cat", "dog"]  # 1 is the old 3, 2 the old 0
    new, before = fine_tune(tmp_path, old, names, *KINDS[kind])
    found, theirs = new.state_dict(), old.state_dict()
    axes = class_axes(new)
    for name, value in found.items():
        if name not in axes:
            assert torch.equal(value, theirs[name]), name
    for name in ("weight", "bias"):
        key = f"sem_seg_head.predictor.1.{name}"
        assert torch.equal(found[key][[1, 2]], theirs[key][[3, 0]])
        assert torch.equal(found[key][[0, 3, 4]], before[key][[0, 3, 4]])
    lateral = "neck.fpn_lateral5.conv.weight"
    features = theirs[lateral].shape[1] - 4
    assert torch.equal(found[lateral][:, :features], theirs[lateral][:, :features])
    assert torch.equal(found[lateral][:, [features + 1, features + 2]], theirs[lateral][:, [features + 3, features]])
    assert torch.equal(found[lateral][:, features + 3 :], before[lateral][:, features + 3 :])
    if kind != "denseclip":
        up = "alignment.up_32_to_8.1.weight"
        assert torch.equal(found[up][1, 2], theirs[up][3, 0]) and torch.equal(found[up][2, 2], theirs[up][0, 0])
        assert torch.equal(found[up][1, 3], before[up][1, 3]) and torch.equal(found[up][0], before[up][0])


@pytest.mark.parametrize("options", [(), SINGLE_SCALE, BASELINE], ids=["icpc", "denseclip", "baseline"])
def test_axes_are_those_whose_length_is_that_of_the_class_list(options: tuple) -> None:
    """Of all tensors of a model: none is missing, and none is there by mistake."""
    with torch.device("meta"):
        few, many = (build(names, 0, *options, "MODEL.DEVICE", "meta") for names in (OLD[:2], OLD))
    differing = {
        name: {
            axis for axis, (a, b) in enumerate(zip(few.state_dict()[name].shape, value.shape, strict=True)) if a != b
        }
        for name, value in many.state_dict().items()
    }
    found = class_axes(many)
    assert {name: set(axes) for name, axes in found.items()} == {name: axes for name, axes in differing.items() if axes}
    for name, axes in found.items():
        assert all(many.state_dict()[name].shape[axis] == start + 4 for axis, start in axes.items()), name


def test_what_is_kept_and_new_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new_classes.logger.addHandler(caplog.handler)  # Detectron2's loggers do not pass on what they get
    caplog.set_level(logging.INFO)
    try:
        fine_tune(tmp_path, build(OLD, 0), ["car", "boat"])
    finally:
        new_classes.logger.removeHandler(caplog.handler)
    rows = [line.split() for line in caplog.text.splitlines()]
    for row in (["car", "0", "2", "carried", "over"], ["boat", "1", "-", "new"], ["sky", "-", "0", "left", "out"]):
        assert row in rows
    classifier = next(row for row in rows if row[:1] == ["sem_seg_head.predictor"])
    assert classifier[1] == classifier[2]  # one class of two
    assert any(row[0] == "text_encoder" and row[2] == "0" for row in rows if len(row) == 3)


def test_a_resumed_training_and_an_evaluation_want_their_own_classes(tmp_path: Path) -> None:
    ICPCCheckpointer(build(OLD, 0), str(tmp_path), class_names=OLD).save("model_0000001", iteration=1)
    other = build(["car", "boat"], 1)
    resumed = ICPCCheckpointer(other, str(tmp_path), class_names=["car", "boat"], new_classes=True)
    with pytest.raises(ValueError, match="trained for 4 classes"):
        resumed.resume_or_load("", resume=True)
    with pytest.raises(ValueError, match=r"4 differ .* training with MODEL\.NEW_CLASSES True"):
        ICPCCheckpointer(other, class_names=["car", "boat"]).load(str(tmp_path / "model_0000001.pth"))


def test_weights_without_class_names_and_of_another_model_are_refused(tmp_path: Path) -> None:
    old = build(OLD, 0)
    WeightsCheckpointer(old, str(tmp_path)).save("unnamed")
    new = build(["car", "boat"], 1)
    checkpointer = ICPCCheckpointer(new, class_names=["car", "boat"], new_classes=True)
    with pytest.raises(ValueError, match=r"NEW_CLASSES is True, but .* does not name the classes"):
        checkpointer.load(str(tmp_path / "unnamed.pth"))
    WeightsCheckpointer(build(OLD, 0, *SINGLE_SCALE), str(tmp_path), class_names=OLD).save("other")
    with pytest.raises(ValueError, match=r"(?s)seem to be a model of this project.*from the weights: alignment\.up"):
        checkpointer.load(str(tmp_path / "other.pth"))
    WeightsCheckpointer(old, str(tmp_path), class_names=OLD[:3]).save("wrong")
    with pytest.raises(ValueError, match=r"alignment\.up.*: found the shape \(4, 4, .* wanted \(3, 3, "):
        checkpointer.load(str(tmp_path / "wrong.pth"))


def test_names_are_compared_as_those_of_data_sets_are() -> None:
    assert shared_ids(["Traffic_Light", "cafe\u0301", "t-shirt"], ["T shirt", "caf\u00e9", "traffic-light"]) == [
        *((2, 0), (1, 1), (0, 2)),
    ]
    assert shared_ids(["t-shirt", "t shirt"], ["t shirt", "t-shirt"]) == [(1, 0), (0, 1)]
    assert shared_ids(["Sky", "traffic  light", "a"], ["traffic light", "b", "sky"]) == [(1, 0), (0, 2)]
