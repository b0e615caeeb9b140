import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.checkpoint.key_maps import check_names, convert_clip, fit, resize_positions

CLIP = {
    "visual.conv1.weight": torch.rand(4, 3, 2, 2),
    "visual.attnpool.positional_embedding": torch.rand(1 + 49, 4),
    "token_embedding.weight": torch.rand(10, 4),
    "positional_embedding": torch.rand(7, 4),
    "transformer.resblocks.0.ln_1.weight": torch.rand(4),
    "ln_final.weight": torch.rand(4),
    "text_projection": torch.rand(4, 4),
    "logit_scale": torch.tensor(4.6),
    "context_length": torch.tensor(77),
}
TEXT = {name: tensor for name, tensor in CLIP.items() if not name.startswith(("visual.", "logit", "context"))}


def model_of(image_prefix: str, *, text: bool = True, pool: bool = True) -> dict[str, Tensor]:
    """The state dict of a model that has these parts of CLIP, and a decoder."""
    model = {f"{image_prefix}conv1.weight": torch.zeros(4, 3, 2, 2), "neck.weight": torch.zeros(1)}
    if pool:
        model[f"{image_prefix}attnpool.positional_embedding"] = torch.zeros(1 + 49, 4)
    if text:
        model |= {f"text_encoder.{name}": torch.zeros_like(tensor) for name, tensor in TEXT.items()}
    return model


@pytest.mark.parametrize("prefix", ["backbone.visual.", "backbone.bottom_up.visual."])
def test_every_weight_finds_its_place(prefix: str) -> None:
    model = model_of(prefix)
    converted, dropped = convert_clip(CLIP, model)
    assert converted.keys() == model.keys() - {"neck.weight"}
    assert converted[f"{prefix}conv1.weight"] is CLIP["visual.conv1.weight"]
    for name, tensor in TEXT.items():
        assert converted[f"text_encoder.{name}"] is tensor
    assert sorted(dropped) == ["context_length", "logit_scale"]


def test_parts_that_a_model_is_built_without_are_dropped_by_name() -> None:
    converted, dropped = convert_clip(CLIP, model_of("backbone.bottom_up.visual.", text=False, pool=False))
    assert list(converted) == ["backbone.bottom_up.visual.conv1.weight"]
    assert set(dropped) == CLIP.keys() - {"visual.conv1.weight"}


def test_missing_and_unknown_names_are_refused() -> None:
    weights = {name: tensor for name, tensor in CLIP.items() if name != "ln_final.weight"}
    weights["visual.layer9.weight"] = weights["transformer.resblocks.1.ln_1.weight"] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        convert_clip(weights, model_of("backbone.visual."))
    assert "1 missing from the weights: text_encoder.ln_final.weight" in str(error.value)
    assert "2 not in the model: transformer.resblocks.1.ln_1.weight, visual.layer9.weight" in str(error.value)


def test_a_part_that_the_model_has_cannot_be_dropped_in_pieces() -> None:
    weights = CLIP | {"visual.attnpool.q_proj.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 not in the model: visual\.attnpool\.q_proj\.weight"):
        convert_clip(weights, model_of("backbone.visual."))


def test_a_model_without_clip_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"no CLIP image encoder: set MODEL\.BACKBONE\.NAME"):
        convert_clip(CLIP, {"backbone.bottom_up.res2.0.conv1.weight": torch.zeros(1)})


def test_batch_counters_may_be_missing_or_left_over() -> None:
    check_names(["backbone.visual.bn1.num_batches_tracked"], ["neck.norm.num_batches_tracked"], "a test")


@pytest.mark.parametrize("side", [3, 7, 16])
def test_grid_positions_are_resized_bilinearly_behind_their_token(side: int) -> None:
    embedding = torch.rand(1 + 49, 5)
    resized = fit("backbone.visual.attnpool.positional_embedding", embedding, torch.zeros(1 + side**2, 5))
    grid = embedding[1:].reshape(7, 7, 5).permute(2, 0, 1)[None]
    expected = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)[0]
    assert torch.equal(resized[0], embedding[0])
    assert torch.equal(resized[1:].reshape(side, side, 5), expected.permute(1, 2, 0))


def test_half_precision_positions_are_resized_too() -> None:
    assert resize_positions(torch.rand(1 + 4, 3).half(), 1 + 16).dtype == torch.float16


def test_positions_that_are_no_square_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="50 and 12 rows"):
        resize_positions(torch.rand(50, 4), 12)


@pytest.mark.parametrize("name", ["text_encoder.positional_embedding", "backbone.visual.conv1.weight"])
def test_other_shapes_must_match(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: found the shape \(50, 4\) in the weights, wanted \(10, 4\)"):
        fit(name, torch.rand(50, 4), torch.zeros(10, 4))
