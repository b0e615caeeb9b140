"""Multiply-adds: by hand, and by fvcore."""

from math import prod
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.analysis.cost import count_image
from icpc_d2.analysis.macs import build_on_meta, count_forward, count_macs
from icpc_d2.analysis.random_models import build_both_forms, build_random, load_resolved_config
from icpc_d2.modeling import clip
from tests.support.checkpoints import tiny_cfg
from tests.support.configs import CONFIGS
from tests.support.models import TINY_VIT

TINY = str(CONFIGS / "quickstart/icpc_tiny.yaml")


def test_attention_layer_by_hand() -> None:
    """7 tokens, width 64: the two products of attention, four projections, an MLP of four widths, two LayerNorms."""
    block = clip.build_text_model("tiny-RN").transformer.resblocks[0].to("meta")
    found = count_macs(lambda: clip.residual_block(block, torch.empty(1, 7, 64, device="meta")))
    assert found == {"": 2 * 7 * 7 * 64 + (4 + 8) * 7 * 64 * 64 + 2 * 5 * 7 * 64}


def test_convolution_and_its_backward_by_hand() -> None:
    layer = nn.ConvTranspose2d(3, 5, 2, stride=2, device="meta")
    x = torch.empty(2, 3, 4, 6, device="meta", requires_grad=True)
    found = count_macs(lambda: layer(x).sum().backward(), {"layer": layer})
    one = 2 * 4 * 6 * 3 * 5 * 4
    assert found == {"layer": one, "": 2 * one}


class Predict(nn.Module):
    """Images -> logits, as fvcore wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.model.predict(images), size=images.shape[-2:], mode="bilinear")


def product_by_output(inputs: list[Any], outputs: list[Any]) -> int:
    # fvcore's own handle does not know that dimensions broadcast.
    return prod(get_shape(outputs[0])) * get_shape(inputs[0])[-1]


def attention_products(inputs: list[Any], outputs: list[Any]) -> int:
    query, key = get_shape(inputs[0]), get_shape(inputs[1])
    return 2 * prod(query) * key[-2]


@pytest.mark.parametrize("options", [(), TINY_VIT], ids=["RN", "ViT"])
@pytest.mark.parametrize("form", [0, 1], ids=["plain", "fast"])
def test_equals_fvcore(form: int, options: tuple) -> None:
    model = build_both_forms(load_resolved_config(TINY, options))[form]
    with torch.no_grad():
        image = torch.zeros(1, 3, 64, 96)
        model.predict(image)  # keeps what is kept between images
        analysis = FlopCountAnalysis(Predict(model), image)
        analysis.set_op_handle("aten::matmul", product_by_output)
        analysis.set_op_handle("aten::scaled_dot_product_attention", attention_products)
        wanted = analysis.unsupported_ops_warnings(False).tracer_warnings("none").total()
        meta, image = model.to("meta"), image.to("meta")
        meta.predict(image)
        found = count_macs(lambda: Predict(meta)(image)).total()
    assert found == wanted


def test_a_part_inside_of_a_part_is_counted_once() -> None:
    inner = nn.Sequential(nn.BatchNorm2d(3), nn.Upsample(scale_factor=2.0))
    outer = nn.Sequential(inner, nn.Conv2d(3, 5, 1)).to("meta").eval()
    x = torch.empty(1, 3, 4, 4, device="meta")
    found = count_macs(lambda: inner[1](outer(x)), {"outer": outer, "inner": inner})
    assert found == {"outer": 3 * 5 * 64, "inner": 2 * 3 * 16 + 3 * 64 + 5 * 256}
    assert not count_macs(lambda: None)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.BatchNorm2d(6), 5 * 6 * 20),
        (nn.GroupNorm(2, 6), 5 * 6 * 20),
        (nn.LayerNorm(5), 5 * 6 * 20),
        (nn.UpsamplingBilinear2d(scale_factor=2), 4 * 6 * 80),
        (nn.UpsamplingNearest2d(scale_factor=2), 6 * 80),
    ],
)
def test_norms_and_interpolation_are_estimated_by_element(layer: nn.Module, macs: int) -> None:
    assert count_macs(lambda: layer.to("meta")(torch.empty(1, 6, 4, 5, device="meta"))) == {"": macs}


def test_the_cost_of_a_forward_pass_is_that_of_the_tool() -> None:
    cfg = tiny_cfg()
    model = build_on_meta(cfg)
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
    counted = count_forward(model, 100, 90)
    assert counted["text_encoder"] > 0
    # The tool adds the up-sampling to full size, four per class and pixel.
    upsampling = 4 * len(model.class_tokens) * 128 * 96
    assert counted.total() == count_image(build_random(cfg).to("meta"), 100, 90).total() - upsampling
    assert count_forward(model, 128, 96) == counted


def test_other_models_are_counted_too() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor, labels: None) -> torch.Tensor:
            return self.conv(x)

    class Segmentor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.sem_seg_head = nn.Conv2d(3, 3, 1), Head()

    assert count_forward(Segmentor().to("meta"), 4, 5) == {"backbone": 9 * 20, "sem_seg_head": 6 * 20}
    assert count_forward(nn.Linear(1, 1, device="meta"), 4, 5) == {}
