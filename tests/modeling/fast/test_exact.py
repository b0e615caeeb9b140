"""The reference forms against loops and Detectron2's own FPN, and whole models in both forms."""

from collections.abc import Callable

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone import FPN
from torch import nn

from icpc_d2.modeling.alignment import MultiScaleAlignment
from icpc_d2.modeling.neck import AlignedFPN
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import PROMPTS
from icpc_d2.modeling.text.text_encoder import TextEncoder
from icpc_d2.tools.reference import NaiveTextEncoder, PlainAlignment, PlainNeck, make_reference, padded_class_tokens
from tests.support.models import NAMES, TINY_VIT, naive_text


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_prompts_side_by_side_equal_one_at_a_time(prompt_name: str) -> None:
    encoder = TextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    context = prompt(torch.randn(2, 128))
    tokens = ClassTokens(NAMES, "{}", 77, prompt.num_context)
    found = NaiveTextEncoder(encoder)(tokens, context)
    torch.testing.assert_close(found, naive_text(encoder, NAMES, context), atol=1e-5, rtol=1e-4)


def test_names_are_padded_in_their_order_and_cut_on_demand() -> None:
    tokens = ClassTokens(NAMES, "{}", 77)
    ids, ends = padded_class_tokens(tokens)
    assert ids.shape == (len(NAMES), max(length for _, length in tokens.shapes))
    assert (ids[torch.arange(len(NAMES)), ends] == 49407).all() and (ids[0, 1:] == 49407).all()
    assert ends[NAMES.index("chest of drawers")] == 3
    assert padded_class_tokens(tokens, 2)[0].shape == (len(NAMES), 2)


class Given(Backbone):
    """Below FPN: the maps themselves."""

    def __init__(self, shapes: dict[str, ShapeSpec]) -> None:
        super().__init__()
        self.shapes = shapes

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return x

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.shapes


def test_plain_neck_is_detectron2s_fpn_on_concatenated_maps() -> None:
    shapes = {f"res{i + 2}": ShapeSpec(channels=6 + i, stride=4 * 2**i) for i in range(4)}
    alignment = MultiScaleAlignment("res5", 12, 5, "random")
    neck = AlignedFPN(shapes, alignment.levels, 5, out_channels=8)
    features = {name: torch.randn(2, s.channels, 128 // s.stride, 64 // s.stride) for name, s in shapes.items()}
    scores = PlainAlignment(alignment)(torch.randn(2, 12, 4, 2), torch.randn(2, 5, 12))
    joined = {name: ShapeSpec(channels=s.channels + 5, stride=s.stride) for name, s in shapes.items()}
    fpn = FPN(Given(joined), list(shapes), 8)
    fpn.load_state_dict({name.replace(".conv.", "."): value for name, value in neck.state_dict().items()})
    wanted = fpn({name: torch.cat([features[name], scores[name]], dim=1) for name in shapes})
    found = PlainNeck(neck)((features, scores))
    assert list(found) == list(wanted)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name])


@pytest.mark.parametrize("options", [(), ("MODEL.ALIGNMENT.MULTI_SCALE", False), TINY_VIT], ids=["RN", "single", "ViT"])
def test_both_forms_of_a_model_agree(build_tiny: Callable[..., nn.Module], options: tuple) -> None:
    model = build_tiny(*options).eval()
    for parameter in model.alignment.parameters():
        nn.init.normal_(parameter, std=0.3)
    image = torch.randn(2, 3, 64, 96)
    reference = make_reference(model)
    with torch.no_grad():
        torch.testing.assert_close(reference.predict(image), model.predict(image), atol=1e-4, rtol=1e-4)
    assert not isinstance(model.neck, PlainNeck)  # the model itself is as it was
    assert {id(p) for p in reference.parameters()} == {id(p) for p in model.parameters()}
