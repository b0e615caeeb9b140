"""The baselines' model is Detectron2's `SemanticSegmentor`, and predicts as ICPC does."""

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from icpc_d2.modeling.predictions import LazyLogits
from icpc_d2.modeling.windows import sliding_windows
from tests.support.models import make_batch, make_cfg

BASELINE = (
    *("MODEL.BACKBONE.NAME", "build_fpn_backbone", "MODEL.FPN.BOTTOM_UP", "build_clip_resnet_backbone"),
    *("MODEL.CLIP.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
)


def build(architecture: str, *options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_model(
        make_cfg("quickstart/icpc_tiny.yaml", *BASELINE, "MODEL.META_ARCHITECTURE", architecture, *options)
    )


def test_whole_images_are_those_of_detectron2() -> None:
    ours, theirs = build("SemanticFPN"), build("SemanticSegmentor")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    batch = make_batch((97, 131), (64, 80))
    torch.manual_seed(1)
    wanted = theirs(batch)
    torch.manual_seed(1)
    assert ours(batch) == wanted
    ours.eval(), theirs.eval()
    ours.load_state_dict(theirs.state_dict())
    batch[1] |= {"height": 50, "width": 70}
    with torch.no_grad():
        for found, wanted in zip(ours(batch), theirs(batch), strict=True):
            torch.testing.assert_close(found["sem_seg"], wanted["sem_seg"])


@pytest.mark.parametrize("size", [(97, 131), (50, 200)])
def test_sliding_window(size: tuple[int, int]) -> None:
    window = {"ENABLED": True, "SIZE": 64, "STRIDE": 43}
    model = build(
        "SemanticFPN", *(word for key in window for word in (f"TEST.SLIDING_WINDOW.{key}", window[key]))
    ).eval()
    (inputs,) = make_batch(size)
    with torch.no_grad():
        image = model.preprocess_image([inputs])[0]
        wanted = LazyLogits(sliding_windows(model.predict, image, 64, 43, 1, 32), size, size).logits()
        torch.testing.assert_close(model([inputs])[0]["sem_seg"], wanted)
        assert torch.equal(model.label_maps([inputs])[0]["labels"], model([inputs])[0]["sem_seg"].argmax(dim=0))
