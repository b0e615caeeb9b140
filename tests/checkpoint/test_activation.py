"""QuickGELU or GELU: what CLIP's weights were trained with, compared with what the config builds."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer, checkpointer, load_text_encoder
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.conversions import (
    convert_clip_weights,
    convert_denseclip,
    convert_model,
    convert_to_denseclip,
    write_conversion,
)
from tests.support.checkpoints import DENSECLIP_CLASSES, build_denseclip, make_clip, make_model
from tests.support.denseclip_shapes import TINY_R, make_weights

CLASSES = ["sky", "road", "car"]


@cache
def make(quick_gelu: bool) -> nn.Module:
    """A model whose weights the tests write over."""
    model = make_model()
    if not quick_gelu:
        for name, module in list(model.text_encoder.named_modules()):
            if name.endswith("mlp"):
                module.gelu = nn.GELU()
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(make_clip("tiny-RN").state_dict(), path)
    return path


@pytest.mark.parametrize("load", [lambda model, path: ICPCCheckpointer(model).load(path), load_text_encoder])
@pytest.mark.parametrize(
    ("tag", "quick_gelu", "advice"),
    [
        ("clip://ViT-B-16/laion2b_s34b_b88k", True, "with GELU, .* QuickGELU: set it to the same name without"),
        ("clip://ViT-B-32/metaclip_400m", False, "with QuickGELU, .* GELU: set it to the same name with"),
    ],
)
def test_the_tag_decides(
    load: object, tag: str, quick_gelu: bool, advice: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "locate", lambda _: str(weights))
    with pytest.raises(ValueError, match=f"These weights were trained {advice}"):
        load(make(quick_gelu), tag)
    load(make(not quick_gelu), tag)


def test_a_file_that_does_not_say_is_warned_of(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    for quick_gelu, built in ((True, "builds QuickGELU"), (False, "builds GELU")):
        caplog.clear()
        ICPCCheckpointer(make(quick_gelu)).load(str(weights))
        (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert "does not say which activation" in record.message and built in record.message


def test_a_converted_file_remembers(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = torch.load(weights, weights_only=True)
    for key, value in (("quick_gelu", False), ("is_openai", True)):  # the latter as it was called once
        torch.save({"model": content, key: value}, tmp_path / "said.pth")
        known = value if key == "quick_gelu" else True
        assert convert_clip_weights(str(tmp_path / "said.pth"), make(known), []).content["quick_gelu"] is known
        with pytest.raises(ValueError, match="These weights were trained with"):
            ICPCCheckpointer(make(not known)).load(str(tmp_path / "said.pth"))


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_checkpoints_and_files_to_hand_on_remember(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"model{ending}"
    for quick_gelu, advice in ((True, "with QuickGELU, .* name with "), (False, "with GELU, .* name without ")):
        model, other = make(quick_gelu), make(not quick_gelu)
        ICPCCheckpointer(model, str(tmp_path), class_names=CLASSES).save("saved")
        for new_classes in (False, True):
            with pytest.raises(ValueError, match=f"These weights were trained {advice}"):
                ICPCCheckpointer(other, class_names=CLASSES, new_classes=new_classes).load(str(tmp_path / "saved.pth"))
        with pytest.raises(ValueError, match=f"These weights were trained {advice}"):
            convert_model(str(tmp_path / "saved.pth"), other, CLASSES, "")
        write_conversion(convert_model(str(tmp_path / "saved.pth"), model, CLASSES, ""), file, model)
        assert read_weights(str(file))["quick_gelu"] is quick_gelu
        with pytest.raises(ValueError, match=f"These weights were trained {advice}"):
            ICPCCheckpointer(other).load(str(file))


def test_checkpoints_that_do_not_say_load_as_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for quick_gelu in (True, False):
        torch.save({"model": make(quick_gelu).state_dict(), "class_names": CLASSES}, tmp_path / "before.pth")
        ICPCCheckpointer(make(not quick_gelu), class_names=CLASSES).load(str(tmp_path / "before.pth"))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_denseclip_knows_quick_gelu_alone(tmp_path: Path) -> None:
    weights = make_weights(TINY_R)
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "theirs.pth")
    model = build_denseclip()
    content = convert_denseclip(str(tmp_path / "theirs.pth"), model, DENSECLIP_CLASSES).content
    assert content["quick_gelu"] is True
    for block in model.text_encoder.transformer.resblocks:
        block.mlp.gelu = nn.GELU()
    with pytest.raises(ValueError, match="DenseCLIP computes with QuickGELU, .* a name that ends in '-quickgelu'"):
        convert_denseclip(str(tmp_path / "theirs.pth"), model, DENSECLIP_CLASSES)
    torch.save({"model": content["model"]}, tmp_path / "ours.pth")
    with pytest.raises(ValueError, match="DenseCLIP computes with QuickGELU"):
        convert_to_denseclip(str(tmp_path / "ours.pth"), model, DENSECLIP_CLASSES, None)
