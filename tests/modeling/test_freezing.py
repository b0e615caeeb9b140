"""Frozen stages of each image encoder: neither weights nor statistics move, all else trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn

from icpc_d2.checkpoint import WeightsCheckpointer
from icpc_d2.modeling.backbone.freezing import vit_stages
from tests.support.models import TINY_VIT, make_cfg

OUTPUTS = ["res2", "res3", "res4", "res5", "global_embed", "dense_embed"]
RESNET_STAGES = ("visual.conv,visual.bn", "visual.layer1", "visual.layer2", "visual.layer3", "visual.layer4")
VIT_STAGES = (
    "visual.conv1,visual.class_embedding,visual.positional_embedding,visual.ln_pre",
    *(f"visual.transformer.resblocks.{index}." for index in range(4)),
)
IMAGENET_STAGES = tuple(f"bottom_up.{name}" for name in ("stem", "res2", "res3", "res4", "res5"))
IMAGENET = (
    *("MODEL.BACKBONE.NAME", "build_pooled_resnet_backbone", "MODEL.RESNETS.DEPTH", 50),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
)
ENCODERS = {
    "resnet": ((), RESNET_STAGES),
    "vit": (TINY_VIT, VIT_STAGES),
    "imagenet": (IMAGENET, IMAGENET_STAGES),
}


def build(options: tuple, freeze_at: int, *more: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_backbone(make_cfg("quickstart/icpc_tiny.yaml", *options, *more, "MODEL.BACKBONE.FREEZE_AT", freeze_at))


def train_a_step(encoder: nn.Module) -> None:
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    sum(output.square().mean() for output in encoder.train()(torch.randn(2, 3, 64, 64)).values()).backward()
    optimizer.step()


def moved(encoder: nn.Module) -> set[str]:
    """The names of weights and statistics that a step in training changes."""
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    train_a_step(encoder)
    return {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("freeze_at", [0, 1, 3, 5])
def test_stages_up_to_freeze_at_stay_to_the_bit(kind: str, freeze_at: int) -> None:
    options, stages = ENCODERS[kind]
    encoder = build(options, freeze_at)
    frozen = tuple(start for stage in stages[:freeze_at] for start in stage.split(","))
    changed = moved(encoder)
    assert not [name for name in changed if name.startswith(frozen or ("nothing",))]
    # Of what trains, all moves but biases that a softmax cannot tell apart and branches that start at zero.
    for stage in stages[freeze_at:]:
        assert any(name.startswith(tuple(stage.split(","))) for name in changed), stage
    assert any("attnpool" in name or "pyramid" in name for name in changed)
    if kind != "vit":
        statistics = {name for name in encoder.state_dict() if name.endswith("running_mean")}
        assert {name for name in statistics if not name.startswith(frozen or ("nothing",))} <= changed


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_frozen_backbone_trains_on_what_it_evaluates(kind: str) -> None:
    """The same maps in both modes: no statistics of the batch, no stochastic depth."""
    options, _ = ENCODERS[kind]
    encoder = build(options, 5, "MODEL.CLIP.VIT_DROP_PATH", 0.9)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        training, evaluation = encoder.train()(images), encoder.eval()(images)
    names = OUTPUTS[1:] if kind == "vit" else OUTPUTS  # the BatchNorm of its pyramid's res2 trains
    torch.testing.assert_close({n: training[n] for n in names}, {n: evaluation[n] for n in names}, atol=1e-5, rtol=1e-4)


def test_stochastic_depth_of_blocks_that_train_stays() -> None:
    assert build(TINY_VIT, 3, "MODEL.CLIP.VIT_DROP_PATH", 0.3).drop_path == pytest.approx([0, 0, 0.2, 0.3])


def test_a_checkpoint_fits_whatever_is_frozen(tmp_path: Path) -> None:
    free, frozen, again = (nn.ModuleDict({"backbone": build((), freeze_at)}) for freeze_at in (0, 4, 0))
    train_a_step(free["backbone"])  # weights and statistics that are not those of the start
    WeightsCheckpointer(free, str(tmp_path)).save("free")
    WeightsCheckpointer(frozen, str(tmp_path)).load(str(tmp_path / "free.pth"))
    images = torch.randn(1, 3, 64, 64)
    found, wanted = (model["backbone"].eval()(images) for model in (frozen, free))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    WeightsCheckpointer(frozen, str(tmp_path)).save("frozen")
    WeightsCheckpointer(again).load(str(tmp_path / "frozen.pth"))
    torch.testing.assert_close(again.state_dict(), free.state_dict())


def test_blocks_of_a_vit_belong_to_the_map_that_needs_them_first() -> None:
    names = [[name.rpartition(".")[2] for name in stage] for stage in vit_stages([3, 5, 7, 11])[1:]]
    assert names == [["0", "1", "2", "3"], ["4", "5"], ["6", "7"], ["8", "9", "10", "11"]]
    names = [[name.rpartition(".")[2] for name in stage] for stage in vit_stages([2, 0, 3, 3])[1:]]
    assert names == [["0", "1", "2"], [], ["3"], []]


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("freeze_at", [-1, 6])
def test_other_numbers_are_refused(kind: str, freeze_at: int) -> None:
    with pytest.raises(ValueError, match=rf"MODEL\.BACKBONE\.FREEZE_AT is {freeze_at}; wanted is 0 .* up to 5"):
        build(ENCODERS[kind][0], freeze_at)
