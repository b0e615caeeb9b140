"""The folded laterals, and the maps left open, against the plain alignment and neck."""

import copy

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.analysis.random_models import share_parameters
from icpc_d2.modeling.alignment import MultiScaleAlignment, SingleScaleAlignment
from icpc_d2.modeling.fast import folded_neck
from icpc_d2.modeling.fast.folded_neck import FoldedFPN, LateralInput
from icpc_d2.modeling.fast.folding import convolve, expand, fold, multiply
from icpc_d2.modeling.fast.lazy_alignment import LazyMultiScaleAlignment, ScoreMaps
from icpc_d2.modeling.neck import AlignedFPN

LEVELS = ("res2", "res3", "res4", "res5")
SHAPES = {level: ShapeSpec(channels=6 + index, stride=4 * 2**index) for index, level in enumerate(LEVELS)}


def build(num_classes: int, multi_scale: bool = True, out_channels: int = 8) -> tuple[nn.Module, FoldedFPN]:
    alignment = SingleScaleAlignment("res5")
    if multi_scale:
        alignment = LazyMultiScaleAlignment("res5", 12, num_classes, "random")
    neck = FoldedFPN(SHAPES, alignment.levels, num_classes, out_channels=out_channels)
    for parameter in [*alignment.parameters(), *neck.parameters()]:
        nn.init.normal_(parameter, std=0.2)
    return alignment, neck


def plain_neck(
    alignment: nn.Module, neck: FoldedFPN, features: dict[str, Tensor], dense: Tensor, text: Tensor
) -> dict[str, Tensor]:
    """The maps of the plain forms on the same parameters."""
    plain = AlignedFPN(SHAPES, alignment.levels, text.shape[1], out_channels=neck.output_shape()["p2"].channels)
    share_parameters(neck, plain)
    scores = alignment(dense, text)
    if isinstance(alignment, LazyMultiScaleAlignment):
        scores = MultiScaleAlignment.forward(alignment, dense, text)
    return plain((features, scores))


def inputs(batch: int, size: int = 4) -> tuple[dict[str, Tensor], Tensor, Tensor, int]:
    features = {
        level: torch.randn(batch, shape.channels, size * 32 // shape.stride, (size + 2) * 32 // shape.stride)
        for level, shape in SHAPES.items()
    }
    return features, torch.randn(batch, 12, size, size + 2)


@pytest.mark.parametrize("multi_scale", [True, False])
@pytest.mark.parametrize("num_classes", [2, 5, 40])
@pytest.mark.parametrize("asked_for", [(), ("res3",), ("res2",)])
def test_equals_the_plain_form_in_outputs_and_gradients(num_classes: int, multi_scale: bool, asked_for: tuple) -> None:
    alignment, neck = build(num_classes, multi_scale)
    features, dense = inputs(2)
    text = torch.randn(2, num_classes, 12, requires_grad=True)
    parameters = [text, *alignment.parameters(), *neck.parameters()]

    scores = alignment(dense, text)
    for level in asked_for if multi_scale else ():
        scores[level]
    found = neck((features, scores))
    wanted = plain_neck(alignment, neck, features, dense, text)
    weights = {name: torch.randn_like(value) for name, value in wanted.items()}
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-4, rtol=1e-4)
    ours, plain = (
        torch.autograd.grad(sum((out[name] * weights[name]).sum() for name in wanted), parameters)
        for out in (found, wanted)
    )
    for gradient, reference in zip(ours, plain, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4 * reference.abs().max().item(), rtol=1e-3)


def test_folded_chains_give_the_same_lateral() -> None:
    """Three steps from one source, and two chains from another, which become one kernel."""
    alignment, _ = build(3)
    weight, out = torch.randn(4, 3), torch.randn(2, 4, 24, 40)
    maps = {"res5": torch.randn(2, 3, 3, 5), "res4": torch.randn(2, 3, 6, 10)}
    scores = ScoreMaps(maps, alignment(torch.randn(1, 12, 4, 4), torch.randn(1, 3, 12)).terms)
    kernels = fold(weight, expand("res2", scores.terms, maps))
    assert {source: (*kernel.weight.shape, kernel.factor) for source, kernel in kernels.items()} == {
        "res5": (4 * 8 * 8, 3, 8),
        "res4": (4 * 4 * 4, 3, 4),
    }
    found = out
    for source, kernel in kernels.items():
        found = kernel.add_to(found, maps[source])
    plain = out + F.conv2d(scores["res2"], weight[..., None, None])
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_product_of_a_gpu_is_that_of_a_cpu(batch: int) -> None:
    x, weight, bias = torch.randn(batch, 5, 4, 6), torch.randn(8, 5), torch.randn(8)
    rows = multiply(x, weight, bias)
    torch.testing.assert_close(rows, convolve(x, weight, bias).reshape(-1, 8))
    torch.testing.assert_close(rows[-1], weight @ x[-1, :, -1, -1] + bias)


def test_the_form_is_chosen_anew_for_other_sizes() -> None:
    alignment, neck = build(40)
    found = []
    for sides in ((1, 1), (40, 40), (1, 1)):
        for training in (False, True):
            maps = {"res5": torch.randn(1, 40, *sides), "res4": torch.randn(1, 40, *(2 * side for side in sides))}
            scores = ScoreMaps(maps, alignment(torch.randn(1, 12, 4, 4), torch.randn(1, 40, 12)).terms)
            lateral = neck.fpn_lateral2
            x = LateralInput(torch.randn(1, lateral.channels, *(8 * side for side in sides)), scores, "res2")
            with torch.set_grad_enabled(training):
                found.append(lateral._cheapest_form(x))
                assert found[-1] == lateral._count_cheapest_form(x)
    assert found == ["whole", "plain", "whole", "whole", "whole", "plain"]


def test_kept_kernels_follow_the_weights() -> None:
    alignment, neck = build(40)
    features, dense = inputs(1)
    text = torch.randn(1, 40, 12)
    with torch.no_grad():
        first = neck((features, alignment(dense, text)))["p2"]
        assert torch.equal(first, neck((features, alignment(dense, text)))["p2"])
        for change in (
            lambda: alignment.up_8_to_4[0].weight.mul_(2),
            lambda: neck.fpn_lateral2.conv.weight.add_(0.1),
            lambda: (neck.fpn_lateral2.conv.weight.data.add_(0.1), neck.eval()),
            lambda: alignment.load_state_dict({k: v + 0.01 for k, v in alignment.state_dict().items()}),
        ):
            change()
            found = neck((features, alignment(dense, text)))["p2"]
            wanted = plain_neck(alignment, neck, features, dense, text)["p2"]
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
            assert not torch.allclose(first, found)
        other = copy.deepcopy(neck)((features, alignment(dense, text)))["p2"]
        torch.testing.assert_close(other, found)


def test_fine_maps_exist_only_when_asked_for() -> None:
    alignment = LazyMultiScaleAlignment("res5", 8, 5, "identity")
    dense, text = torch.randn(1, 8, 2, 2), torch.randn(1, 5, 8)
    scores = alignment(dense, text)
    assert set(scores.computed) == {"res4", "res5"}
    assert scores["res2"] is scores["res2"]
    for level, wanted in MultiScaleAlignment.forward(alignment, dense, text).items():
        torch.testing.assert_close(scores[level], wanted)


def test_no_fine_map_exists_in_evaluation_with_many_classes() -> None:
    alignment, neck = build(300, out_channels=8)
    features, dense = inputs(1)
    with torch.no_grad():
        scores = alignment(dense, torch.randn(1, 300, 12))
        neck((features, scores))
    assert set(scores.computed) == {"res4", "res5"}


def test_few_classes_are_not_folded() -> None:
    """Where the score map costs less than the kernels, it is made."""
    alignment, neck = build(2, out_channels=64)
    features, dense = inputs(1)
    scores = alignment(dense, torch.randn(1, 2, 12))
    neck((features, scores))
    assert set(scores.computed) == set(LEVELS)


@pytest.mark.parametrize("form", ["plain", "whole", "last"])
def test_every_form_gives_the_same_outputs_and_gradients(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    alignment, neck = build(5)
    features, dense = inputs(2)
    text = torch.randn(2, 5, 12, requires_grad=True)
    parameters = [text, *alignment.parameters(), *neck.parameters()]
    wanted = plain_neck(alignment, neck, features, dense, text)
    monkeypatch.setattr(folded_neck, "choose_form", lambda *_: form)
    found = neck((features, alignment(dense, text)))
    ours, plain = (
        torch.autograd.grad(sum(out.square().sum() for out in outputs.values()), parameters)
        for outputs in (found, wanted)
    )
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-4, rtol=1e-4)
    for gradient, reference in zip(ours, plain, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4 * reference.abs().max().item(), rtol=1e-3)
