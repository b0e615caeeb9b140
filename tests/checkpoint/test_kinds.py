"""Files of the wrong kind: what they are taken for, and the command that makes them right, in a few lines."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.kinds import recognize
from tests.support.checkpoints import make_clip, make_model
from tests.support.denseclip_shapes import TINY_R, make_weights

ONE = torch.zeros(1)


def renamed(start: str, end: str) -> dict[str, Tensor]:
    return {name.replace(start, end, 1): value for name, value in make_clip("tiny-ViT").state_dict().items()}


# name -> (weights, what they seem to be, the way out)
WRONG: dict[str, tuple[Any, str, str]] = {
    "denseclip": (
        lambda: make_weights(TINY_R),
        "DenseCLIP's segmentation model",
        "icpc convert denseclip FILE OUT.pth",
    ),
    "torchvision": (lambda: resnet18().state_dict(), "an ImageNet ResNet", "semantic_fpn_R50.yaml"),
    "mmpretrain": (
        lambda: {f"backbone.{name}": value for name, value in resnet18().state_dict().items()},
        "an ImageNet ResNet",
        "semantic_fpn_R50.yaml",
    ),
    "mmsegmentation": (
        lambda: {"backbone.layer1.0.conv1.weight": ONE, "decode_head.conv_seg.weight": ONE},
        "a segmentation model of mmsegmentation",
        "DenseCLIP's alone can be converted",
    ),
    "timm": (lambda: renamed("visual.", "visual.trunk."), "a CLIP on a network of timm", "clip://MODEL/TAG"),
    "layer scale": (
        lambda: make_clip("tiny-ViT", vision_cfg={"ls_init_value": 1e-4}).state_dict(),
        "a CLIP with LayerScale",
        "clip://MODEL/TAG",
    ),
    "custom text": (
        lambda: renamed("transformer.", "text.transformer."),
        "a text encoder of its own",
        "clip://MODEL/TAG",
    ),
    "transformers": (lambda: renamed("visual.", "vision_model."), "by the names of transformers", "clip://MODEL/TAG"),
    "another clip": (
        lambda: make_clip("tiny-ViT").state_dict(),
        "CLIP",
        "check MODEL.BACKBONE.NAME and MODEL.CLIP.ARCH",
    ),
    "ours": (
        lambda: make_model("resnet", "MODEL.PROMPT.NAME", "coop").state_dict(),
        "a model of this project, of other settings",
        "config.yaml",
    ),
    "unknown": (lambda: {f"layer.{index}.weight": ONE for index in range(3000)}, "", "check MODEL.WEIGHTS"),
}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return make_model()


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_recognised(kind: str, model: nn.Module, tmp_path: Path) -> None:
    make, seems, advice = WRONG[kind]
    torch.save({"state_dict": make()}, tmp_path / "wrong.pth")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as error:
        ICPCCheckpointer(model).load(str(tmp_path / "wrong.pth"))
    message = str(error.value)
    assert len(message) < 600, message
    assert (f"They seem to be {seems}" in message or seems in message) and advice in message, message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_open_clips_other_networks_are_recognised() -> None:
    """By the names that they have in open_clip, without their size."""
    custom = open_clip.model.CustomTextCLIP(64, {"layers": 1, "width": 64}, {"layers": 1, "width": 64, "heads": 1})
    assert "of its own" in recognize(custom.state_dict()).seems
    assert recognize([]) is None


def test_the_log_has_all_the_names(model: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({f"layer.{index}.weight": ONE for index in range(50)}, tmp_path / "wrong.pth")
    with caplog.at_level("DEBUG", "icpc_d2"), pytest.raises(ValueError, match=r"50 not in the model: .* \(48 more\)"):
        ICPCCheckpointer(model).load(str(tmp_path / "wrong.pth"))
    assert "layer.49.weight" in caplog.text
