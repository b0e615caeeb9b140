"""DenseCLIP's weights as ours: each tensor in its place, the same scores and logits, and every bit on the way back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icpc_d2.analysis.macs import build_on_meta
from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.checkpoint.denseclip import TEXT_POSITIONS, from_denseclip, read_denseclip, to_denseclip
from tests.support.checkpoints import DENSECLIP_CLASSES, assert_equal, build_denseclip
from tests.support.configs import CONFIGS
from tests.support.denseclip_forward import forward
from tests.support.denseclip_shapes import (
    POSITIONS,
    R50,
    R101,
    TINY_R,
    TINY_VIT,
    VIT_B,
    Sizes,
    make_shapes,
    make_weights,
)
from tests.support.models import TINY_VIT as VIT_OPTIONS

CASES = pytest.mark.parametrize(("sizes", "options"), [(TINY_R, ()), (TINY_VIT, VIT_OPTIONS)], ids=["resnet", "vit"])


@CASES
def test_scores_and_logits_are_denseclips(sizes: Sizes, options: tuple) -> None:
    weights, model, images = make_weights(sizes), build_denseclip(*options), torch.randn(2, 3, 64, 96)
    converted, dropped = from_denseclip(weights, model.state_dict())
    assert dropped == []
    model.load_state_dict(converted)
    with torch.no_grad():
        scores, logits = forward(weights, sizes, DENSECLIP_CLASSES, images)
        _, found = model.encode(images)
        predicted = model.predict(images)
    assert scores.std(dim=1).mean() > 0.003 and logits.std(dim=1).mean() > 0.1  # else equality says little
    assert list(found) == ["res4" if sizes.is_vit else "res5"]
    torch.testing.assert_close(found["res4" if sizes.is_vit else "res5"], scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(predicted, logits, atol=1e-4, rtol=1e-4)


@CASES
def test_there_and_back_is_every_bit(sizes: Sizes, options: tuple) -> None:
    weights = make_weights(sizes)
    converted, _ = from_denseclip(weights, build_denseclip(*options).state_dict())
    assert converted[TEXT_POSITIONS].shape == (77, 64) and not converted[TEXT_POSITIONS][POSITIONS:].any()
    assert_equal(to_denseclip(converted), weights)


@pytest.mark.parametrize(
    ("sizes", "config", "millions"), [(R50, "R50", 50.3), (R101, "R101", 67.8), (VIT_B, "ViTB", 105.3)]
)
def test_the_table_covers_the_released_models(sizes: Sizes, config: str, millions: float) -> None:
    shapes = make_shapes(sizes)
    counted = [
        torch.Size(shape).numel()
        for name, shape in shapes.items()
        if not name.startswith("text_encoder.") and not name.endswith(("running_mean", "running_var", "_tracked"))
    ]
    # As DenseCLIP publishes it, the text encoder left out; its figure for RN50 is rounded up.
    assert sum(counted) / 1e6 == pytest.approx(millions, abs=0.06)
    cfg = load_resolved_config(str(CONFIGS / f"ade20k/denseclip_{config}.yaml"), device="meta")
    model = build_on_meta(cfg).state_dict()
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    converted, dropped = from_denseclip(weights, model)
    assert dropped == []
    assert {name: tensor.shape for name, tensor in converted.items()} == {k: v.shape for k, v in model.items()}
    assert {name: tensor.shape for name, tensor in to_denseclip(converted).items()} == shapes


def test_names_that_are_missing_or_unknown_are_refused() -> None:
    weights = make_weights(TINY_R)
    del weights["gamma"]
    # Names of ours, which would overwrite what the table has for DenseCLIP's own.
    weights["context_decoder.layers.0.norm1.bias"] = weights["context_decoder.decoder.0.norm1.bias"]
    weights["backbone.layer9.weight"] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        from_denseclip(weights, build_denseclip().state_dict())
    assert "1 missing from the weights: context_decoder.scale" in str(error.value)
    assert "2 not in the model: backbone.layer9.weight, context_decoder.layers.0.norm1.bias" in str(error.value)


def test_heads_of_the_training_are_dropped_by_name() -> None:
    weights = make_weights(TINY_R) | {"auxiliary_head.conv_seg.weight": torch.zeros(1)}
    converted, dropped = from_denseclip(weights, build_denseclip().state_dict())
    assert dropped == ["auxiliary_head.conv_seg.weight"]
    assert len(converted) == len(weights) - 1


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("decode_head.conv_seg.weight", (7, 64, 1, 1), r"found the shape \(7, 64, 1, 1\) .* class count"),
        ("contexts", (1, 16, 64), r"found the shape \(16, 64\) in the weights, wanted \(8, 64\)"),
        ("contexts", (64,), r"found the shape \(64,\)"),
        # Resizing would change the logits.
        ("backbone.attnpool.positional_embedding", (1 + 49, 512), r"found the shape \(50, 512\) .*IMAGE_SIZE"),
    ],
)
def test_shapes_must_fit(name: str, shape: tuple[int, ...], message: str) -> None:
    weights = make_weights(TINY_R) | {name: torch.zeros(shape)}
    with pytest.raises(ValueError, match=message):
        from_denseclip(weights, build_denseclip().state_dict())


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("icpc", r"DenseCLIP has no place for prompt\.projector\.0\.weight, .*\. Wanted is"),
        ("template", r"DenseCLIP needs prompt\.vectors\. Wanted is"),
    ],
)
def test_models_of_another_kind_are_not_denseclips(prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_denseclip(build_denseclip("MODEL.PROMPT.NAME", prompt).state_dict())


def save(path: Path, **meta: Any) -> str:
    torch.save({"meta": meta, "state_dict": {"module.a": torch.ones(2)}, "optimizer": {"state": {}}}, path)
    return str(path)


def test_checkpoints_of_mmsegmentation_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "mm.pth", CLASSES=("wall", "bed "), PALETTE=[[0, 0, 0]], epoch=3, config="model = dict()")
    weights, classes = read_denseclip(path)
    assert list(weights) == ["a"]
    assert classes == ["wall", "bed"]
    torch.save({"a": torch.ones(2)}, tmp_path / "bare.pth")
    assert read_denseclip(str(tmp_path / "bare.pth"))[1] == []


def test_objects_in_meta_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = save(tmp_path / "mm.pth", hook_msgs={"best_score": np.float64(43.5)})
    assert list(read_denseclip(path)[0]) == ["a"], "a number is none"
    path = save(tmp_path / "mm.pth", hook_msgs={"best_ckpt": tmp_path})
    with pytest.raises(ValueError, match=r"mm\.pth cannot be read .* pathlib.* write these to another: ") as error:
        read_denseclip(path)
    program = str(error.value).split("write these to another: ")[1]
    exec(program, {"torch": torch, "IN": path, "OUT": tmp_path / "plain.pth"})
    assert list(read_denseclip(str(tmp_path / "plain.pth"))[0]) == ["a"]
