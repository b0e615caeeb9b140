"""Images as they are (``TEST.PAD_TO_STRIDE False``): DenseCLIP's forward, both forms, batches, tiny images."""

from collections.abc import Callable

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import nn
from torch.nn import functional as F

from icpc_d2.analysis.macs import meta_image
from icpc_d2.analysis.random_models import build_both_forms
from icpc_d2.checkpoint.denseclip import from_denseclip
from icpc_d2.modeling.backbone import ClipResNet
from icpc_d2.modeling.fpn import AnySizeFPN
from icpc_d2.modeling.resizing import resize_to
from icpc_d2.tools.visualize.inspection import embeddings, score_maps
from tests.support.checkpoints import DENSECLIP_CLASSES, build_denseclip
from tests.support.denseclip_forward import forward
from tests.support.denseclip_shapes import TINY_R, TINY_VIT, Sizes, make_weights
from tests.support.models import TINY_VIT as VIT_OPTIONS
from tests.support.models import Given, make_batch, make_cfg

AS_THEY_ARE = ("TEST.PAD_TO_STRIDE", False)


BACKBONES = pytest.mark.parametrize("options", [(), VIT_OPTIONS], ids=["resnet", "vit"])


@pytest.mark.parametrize(("sizes", "options"), [(TINY_R, ()), (TINY_VIT, VIT_OPTIONS)], ids=["resnet", "vit"])
def test_evaluates_as_denseclip_does_without_padding(sizes: Sizes, options: tuple) -> None:
    """Half and five eighths of 512 x 683, as multi-scale testing sees it; no side but one is a multiple of 32."""
    weights, model = make_weights(sizes), build_denseclip(*options, *AS_THEY_ARE).eval()
    model.load_state_dict(from_denseclip(weights, model.state_dict())[0])
    batch = make_batch((256, 342), (320, 427))
    with torch.no_grad():
        found = model(batch)
        for inputs, output in zip(batch, found, strict=True):
            image = ((inputs["image"] - model.pixel_mean) / model.pixel_std)[None]
            _, logits = forward(weights, sizes, DENSECLIP_CLASSES, image)
            wanted = F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=False)[0]
            assert wanted.std(dim=0).mean() > 0.1  # else equality says little
            torch.testing.assert_close(output["sem_seg"], wanted, atol=1e-4, rtol=1e-4)
        model.pad_to_stride = True
        padded = model(batch[:1])[0]["sem_seg"]
    assert (padded - found[0]["sem_seg"]).abs().max() > 0.01


@BACKBONES
@pytest.mark.parametrize("predict_from", ["decoder", "alignment"])
def test_both_forms_agree_at_every_size(options: tuple, predict_from: str) -> None:
    """Levels that are one larger or smaller than twice the next, and odd numbers of tokens."""
    scale = ("MODEL.ALIGNMENT.LOSS_SCALES", ["res2"], "MODEL.PREDICT_FROM", predict_from)
    plain, fast = build_both_forms(make_cfg("quickstart/icpc_tiny.yaml", *options, *scale, *AS_THEY_ARE))
    for parameter in (*fast.alignment.parameters(), *fast.sem_seg_head.predictor.parameters()):
        nn.init.normal_(parameter, std=0.3)
    batch = make_batch((33, 47), (63, 80), (96, 90), (113, 176))
    with torch.no_grad():
        for wanted, found in zip(plain(batch), fast(batch), strict=True):
            assert wanted["sem_seg"].std(dim=0).mean() > 0.01
            torch.testing.assert_close(found["sem_seg"], wanted["sem_seg"], atol=1e-4, rtol=1e-4)


@BACKBONES
def test_an_image_is_predicted_alike_alone_and_in_a_batch(build_tiny: Callable, options: tuple) -> None:
    model = build_tiny(*options, *AS_THEY_ARE).eval()
    batch = make_batch((50, 70), (97, 40), (50, 70))
    with torch.no_grad():
        for inputs, found in zip(batch, model(batch), strict=True):
            torch.testing.assert_close(found["sem_seg"], model([inputs])[0]["sem_seg"], atol=1e-5, rtol=1e-4)


def test_windows_are_not_padded_either(build_tiny: Callable) -> None:
    """An image lower than a window gives windows of its own height."""
    window = ("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 43)
    model = build_tiny(*window, *AS_THEY_ARE).eval()
    (inputs,) = make_batch((50, 107))
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, images: seen.append(tuple(images[0].shape)))
    with torch.no_grad():
        (found,) = model([inputs])
        total = torch.zeros_like(found["sem_seg"])
        for left in (0, 43):
            (part,) = model([{"image": inputs["image"][:, :, left : left + 64]}])
            total[:, :, left : left + 64] += part["sem_seg"]
    total[:, :, 43:64] /= 2
    assert seen[0] == (2, 3, 50, 64)
    torch.testing.assert_close(found["sem_seg"], total, atol=1e-5, rtol=1e-4)


@BACKBONES
def test_what_is_smaller_than_the_coarsest_stride_is_padded_to_it(build_tiny: Callable, options: tuple) -> None:
    model = build_tiny(*options, *AS_THEY_ARE).eval()
    (inputs,) = make_batch((9, 40))
    mean = model.pixel_mean.expand(3, 32 - 9, 40)
    with torch.no_grad():
        (found,) = model([inputs])
        (padded,) = model([{"image": torch.cat([inputs["image"], mean], dim=1)}])
    torch.testing.assert_close(found["sem_seg"], padded["sem_seg"][:, :9], atol=1e-5, rtol=1e-4)


def test_trainings_pad(build_tiny: Callable) -> None:
    model = build_tiny(*AS_THEY_ARE)
    sizes = []
    model.backbone.register_forward_pre_hook(lambda _, images: sizes.append(tuple(images[0].shape[2:])))
    assert all(loss.isfinite() for loss in model(make_batch((50, 70), (40, 97))).values())
    assert sizes == [(64, 128)]


def test_figures_see_an_image_as_the_model_does(build_tiny: Callable) -> None:
    model = build_tiny(*AS_THEY_ARE).eval()
    batch = make_batch((97, 130), (40, 60))
    first, second = embeddings(model, batch)
    assert (first.dense.shape[1:], second.dense.shape[1:]) == ((3, 4), (1, 1))
    with torch.no_grad():
        alone = model.backbone(model.preprocess_image(batch[:1])[0][None])["dense_embed"][0]
    torch.testing.assert_close(first.dense, alone)
    assert [tuple(scores.shape) for scores in score_maps(model, batch, "res4")] == [(6, 97, 130), (6, 40, 60)]


def test_costs_are_counted_at_the_size_that_is_predicted(build_tiny: Callable) -> None:
    assert meta_image(build_tiny(*AS_THEY_ARE), 50, 70).shape == (1, 3, 50, 70)
    assert meta_image(build_tiny(), 50, 70).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("part", ["head", "backbone"])
def test_a_part_that_cannot_says_so(build_tiny: Callable, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    if part == "head":
        options = ("MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 6)
    else:
        options = ()
        monkeypatch.setattr(ClipResNet, "any_size", False)
    name = {"head": "sem_seg_head SemSegFPNHead", "backbone": "backbone ClipResNet"}[part]
    with pytest.raises(ValueError, match=f"TEST.PAD_TO_STRIDE is False, but the {name} takes no image .* to True"):
        build_tiny(*options, *AS_THEY_ARE)


def test_the_fpn_joins_maps_by_size() -> None:
    """5 x 7 above 2 x 3: by hand, with 1x1 convolutions that copy and the output convolutions left out."""
    shapes = {"res4": ShapeSpec(channels=2, stride=16), "res5": ShapeSpec(channels=2, stride=32)}
    fpn = AnySizeFPN(Given(shapes), list(shapes), 2, fuse_type="avg")
    for conv in fpn.lateral_convs:
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    fpn.output_convs = [nn.Identity(), nn.Identity()]
    maps = {"res4": torch.randn(1, 2, 5, 7), "res5": torch.randn(1, 2, 2, 3)}
    found = fpn(maps)
    rows, columns = [0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 2, 2]
    assert torch.equal(found["p5"], maps["res5"])
    assert torch.equal(found["p4"], (maps["res4"] + maps["res5"][:, :, rows][:, :, :, columns]) / 2)


def test_maps_of_the_right_size_are_left_alone() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert resize_to(x, (3, 4)) is x
