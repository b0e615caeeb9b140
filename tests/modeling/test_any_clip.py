"""Each kind of CLIP that the encoders take: its two towers against open_clip's at the native size, and its maps.

The architectures are open_clip's with fewer and narrower layers: patches, image and head sizes, ratios and activation
are their own.
"""

import copy
from typing import Any

import open_clip
import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone import ClipResNet, ClipViT
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES, make_batch, make_cfg, show_residuals

OUTPUTS = ["res2", "res3", "res4", "res5", "global_embed", "dense_embed"]
KINDS = (
    "RN50-quickgelu",
    "RN50x4-quickgelu",
    "ViT-B-16",
    "ViT-B-16-plus-240",
    "ViT-B-32-quickgelu",
    "ViT-L-14-quickgelu",
    "ViT-H-14",
    "ViT-g-14",
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build two blocks of two heads in each tower, or a ResNet with a fifth of the channels."""
    full = clip.get_architecture

    def small(name: str) -> dict[str, Any]:
        architecture = copy.deepcopy(full(name))
        vision, text = architecture["vision_cfg"], architecture["text_cfg"]
        if isinstance(vision["layers"], list):
            vision |= {"layers": [1, 1, 1, 1], "width": 16}
        elif not name.startswith("tiny"):
            vision |= {"layers": 4, "width": 2 * vision.get("head_width", 64)}
        text |= {"layers": 2, "width": 128, "heads": 2}
        return architecture | {"embed_dim": 96}

    monkeypatch.setattr(clip, "get_architecture", small)


@pytest.mark.parametrize("name", KINDS)
def test_both_towers_are_open_clips(name: str) -> None:
    architecture = clip.get_architecture(name)
    reference = open_clip.model.CLIP(**architecture).eval()
    show_residuals(reference.visual)
    encoder = (ClipViT(name, OUTPUTS, []) if "ViT" in name else ClipResNet(name, OUTPUTS)).eval()
    visual = {key: value for key, value in encoder.visual.state_dict().items() if "pyramid" not in key}
    encoder.visual.load_state_dict({key: reference.visual.state_dict()[key] for key in visual})
    side = architecture["vision_cfg"]["image_size"]
    images = torch.randn(2, 3, side, side)
    text = TextEncoder(name)
    text.load_state_dict({key: reference.state_dict()[key] for key in text.state_dict()})
    with torch.no_grad():
        found, wanted = encoder(images), reference.encode_image(images)
        torch.testing.assert_close(found["global_embed"], wanted, atol=1e-4 * wanted.abs().max().item(), rtol=1e-4)
        words = open_clip.tokenize([f"a photo of a {word}." for word in NAMES])
        embedded = text(ClassTokens(NAMES, "a photo of a {}.", 77), Context())[0]
        torch.testing.assert_close(embedded, reference.encode_text(words), atol=1e-4, rtol=1e-4)
    assert wanted.std() > 1e-3


@pytest.mark.parametrize(("name", "stride"), [("ViT-L-14", 16), ("ViT-B-16", 16), ("ViT-B-32", 32)])
def test_maps_have_their_strides_whatever_the_patch(name: str, stride: int) -> None:
    encoder = ClipViT(name, OUTPUTS, [], norm="BN").eval()
    with torch.no_grad():
        outputs = encoder(torch.randn(1, 3, 96, 160))
    shapes = encoder.output_shape()
    assert shapes["dense_embed"].stride == stride
    for level, step in (("res2", 4), ("res3", 8), ("res4", 16), ("res5", 32), ("dense_embed", stride)):
        assert outputs[level].shape[-2:] == (96 // step, 160 // step), level
        assert outputs[level].shape[1] == shapes[level].channels


@pytest.mark.parametrize("patch_size", [14, 32])
def test_maps_of_other_patches_lie_where_the_image_does(patch_size: int) -> None:
    """A ramp over the image is a ramp over its maps, from edge to edge."""
    ramp = torch.linspace(0, 1, 512).expand(1, 3, 96, 512)
    patches = nn.functional.avg_pool2d(clip.fit_to_patches(ramp, patch_size), patch_size)
    found = clip.as_map(patches.flatten(2).transpose(1, 2), patches.shape[-2:], (6, 32))
    wanted = nn.functional.avg_pool2d(ramp, 16)
    torch.testing.assert_close(found[..., 2:-2], wanted[..., 2:-2], atol=2e-3, rtol=0)


def test_blocks_are_taken_at_denseclips_shares_of_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    small = clip.get_architecture
    for layers, blocks in ((12, [3, 5, 7, 11]), (24, [7, 11, 15, 23]), (4, [0, 1, 2, 3])):

        def deep(name: str, layers: int = layers) -> dict[str, Any]:
            architecture = small(name)
            return architecture | {"vision_cfg": architecture["vision_cfg"] | {"layers": layers, "width": 64}}

        monkeypatch.setattr(clip, "get_architecture", deep)
        assert ClipViT("ViT-L-14", ["res5"], []).blocks == blocks


@pytest.mark.parametrize("name", ["ViT-L-14-quickgelu", "ViT-B-32"])
def test_a_model_on_it_trains_and_predicts(name: str) -> None:
    options = ["MODEL.BACKBONE.NAME", "build_clip_vit_backbone", "MODEL.CLIP.ARCH", name]
    model = build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
    sum(model(make_batch((96, 128))).values()).backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)
    assert model.eval()(make_batch((70, 90)))[0]["sem_seg"].shape == (len(NAMES), 70, 90)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("EVA02-B-16", "custom_text|timm_model_name"),
        ("ViT-B-16-SigLIP", "custom_text|timm_model_name"),
        ("MobileCLIP-S1", "custom_text|timm_model_name"),
        ("convnext_base", "timm_model_name"),
        ("ViT-M-16-alt", "ls_init_value"),
        ("ViT-L-14-CLIPA", "no_ln_pre"),
        ("coca_ViT-B-32", "custom_text|multimodal_cfg"),
        ("xlm-roberta-base-ViT-B-32", "hf_model_name"),
    ],
)
def test_other_networks_are_refused_by_one_sentence(name: str, part: str) -> None:
    for backbone in ("build_clip_vit_backbone", "build_clip_resnet_backbone"):
        options = ["MODEL.BACKBONE.NAME", backbone, "MODEL.CLIP.ARCH", name]
        with pytest.raises(ValueError, match=rf"MODEL\.CLIP\.ARCH '{name}' has .*({part}).*, which no encoder here"):
            build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
