import pytest
import torch
from torch import nn

from icpc_d2.analysis.cost import count_image
from icpc_d2.analysis.macs import build_on_meta, count_forward, count_macs
from icpc_d2.analysis.random_models import build_random
from tests.support.checkpoints import tiny_cfg


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
