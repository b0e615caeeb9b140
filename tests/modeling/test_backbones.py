"""The image encoders: parity with open_clip, shapes at any size, use in other meta-architectures."""

import open_clip
import pytest
import torch
from detectron2.modeling import build_backbone, build_model
from torch import nn
from torch.nn import functional

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone import ClipResNet, ClipViT
from tests.support.models import TINY_VIT, make_batch, make_cfg, show_residuals

FULL = ("RN50-quickgelu", "RN101-quickgelu", "ViT-B-16-quickgelu")


def build_encoder(architecture: str) -> nn.Module:
    outputs = ["global_embed", "dense_embed"]
    if "ViT" in architecture:
        return ClipViT(architecture, outputs, [0, 1, 2, 3])
    return ClipResNet(architecture, outputs)


@pytest.mark.parametrize(
    "architecture", ["tiny-RN", "tiny-ViT", *(pytest.param(name, marks=pytest.mark.slow) for name in FULL)]
)
def test_global_embedding_is_open_clips(architecture: str) -> None:
    config = clip.get_architecture(architecture)
    reference = open_clip.model.CLIP(**config).eval()
    show_residuals(reference.visual)
    encoder = build_encoder(architecture).eval()
    encoder.visual.load_state_dict(reference.visual.state_dict())
    size = config["vision_cfg"]["image_size"]
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        found, wanted = encoder(images)["global_embed"], reference.encode_image(images)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, atol=1e-4 * wanted.abs().max().item(), rtol=1e-4)


def test_synchronized_norms_hold_the_same_parameters() -> None:
    states = {}
    for norm in ("BN", "SyncBN", "naiveSyncBN"):
        torch.manual_seed(0)
        encoder = ClipResNet("tiny-RN", ["res5"], norm=norm)
        states[norm] = encoder.state_dict()
        kinds = {type(module).__name__ for module in encoder.modules() if hasattr(module, "running_mean")}
        assert kinds == {{"BN": "BatchNorm2d", "SyncBN": "SyncBatchNorm", "naiveSyncBN": "NaiveSyncBatchNorm"}[norm]}
    torch.testing.assert_close(states["SyncBN"], states["BN"])
    torch.testing.assert_close(states["naiveSyncBN"], states["BN"])
    with pytest.raises(ValueError, match="RESNET_NORM is 'GN'; .* BN and SyncBN"):
        ClipResNet("tiny-RN", ["res5"], norm="GN")


@pytest.mark.parametrize(("options", "stride"), [((), 32), (TINY_VIT, 16)])
def test_outputs_have_the_shapes_that_are_reported(options: tuple, stride: int) -> None:
    backbone = build_backbone(make_cfg("quickstart/icpc_tiny.yaml", *options))
    shapes = backbone.output_shape()
    outputs = backbone(torch.randn(2, 3, 96, 160))
    assert list(outputs) == ["res2", "res3", "res4", "res5", "global_embed", "dense_embed"]
    assert shapes["dense_embed"].stride == stride
    for name, output in outputs.items():
        shape = shapes[name]
        size = () if shape.stride is None else (96 // shape.stride, 160 // shape.stride)
        assert output.shape == (2, shape.channels, *size), name


@pytest.mark.parametrize("options", [(), TINY_VIT])
def test_position_embeddings_stored_for_another_size_are_resized(options: tuple) -> None:
    native = build_backbone(make_cfg("quickstart/icpc_tiny.yaml", *options, "MODEL.CLIP.IMAGE_SIZE", 64)).eval()
    images = torch.randn(1, 3, 64, 96)
    assert native(images)["global_embed"].isfinite().all()
    holder = native.visual if options else native.visual.attnpool
    before = native(images)["dense_embed"]
    holder.positional_embedding.data.mul_(2)
    assert not torch.equal(before, native(images)["dense_embed"])


def test_resize_grid_keeps_a_linear_ramp() -> None:
    ramp = torch.cat([torch.tensor([[7.0]]), torch.arange(4.0).repeat_interleave(4)[:, None]])
    resized = clip.resize_grid(ramp, 8, 2)
    assert resized[0] == 7
    rows = resized[1:].view(8, 2)
    torch.testing.assert_close(rows[1:-1, 0].diff(), torch.full((5,), 0.5))
    torch.testing.assert_close(rows[:, 0], rows[:, 1])


@pytest.mark.parametrize("size", [(7, 7), (5, 9), (16, 3)])
def test_resize_grid_interpolates_to_the_bit(size: tuple[int, int]) -> None:
    embedding = torch.randn(1 + 49, 24, requires_grad=True)
    grid = embedding[1:].reshape(1, 7, 7, 24).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)
    expected = torch.cat([embedding[:1], expected[0].flatten(1).T])
    resized = clip.resize_grid(embedding, *size)
    assert torch.equal(resized, expected)
    upstream = torch.randn_like(expected)
    assert torch.equal(*(torch.autograd.grad(output, embedding, upstream)[0] for output in (resized, expected)))


def test_drop_path_drops_while_training_only() -> None:
    backbone = build_backbone(make_cfg("quickstart/icpc_tiny.yaml", *TINY_VIT, "MODEL.CLIP.VIT_DROP_PATH", 0.9))
    images = torch.randn(1, 3, 64, 64)
    backbone.eval()
    assert torch.equal(backbone(images)["dense_embed"], backbone(images)["dense_embed"])
    backbone.train()
    assert len({backbone(images)["dense_embed"].sum().item() for _ in range(8)}) > 1


def test_architecture_and_backbone_must_fit() -> None:
    with pytest.raises(ValueError, match="build_clip_vit_backbone"):
        build_backbone(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLIP.ARCH", "tiny-ViT"))
    with pytest.raises(ValueError, match="build_clip_resnet_backbone"):
        build_backbone(make_cfg("quickstart/icpc_tiny.yaml", *TINY_VIT, "MODEL.CLIP.ARCH", "tiny-RN"))
    with pytest.raises(ValueError, match="RN50-quickgelu"):
        build_backbone(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLIP.ARCH", "hf-hub:no/where"))
    with pytest.raises(ValueError, match="res6"):
        build_backbone(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLIP.OUT_FEATURES", ["res6"]))


@pytest.mark.parametrize("vit", [False, True])
def test_backbone_serves_detectron2s_semantic_segmentor(vit: bool) -> None:
    bottom_up = "build_clip_vit_backbone" if vit else "build_clip_resnet_backbone"
    cfg = make_cfg(
        "quickstart/icpc_tiny.yaml",
        *(TINY_VIT if vit else ()),
        *("MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.BACKBONE.NAME", "build_fpn_backbone"),
        *("MODEL.FPN.BOTTOM_UP", bottom_up, "MODEL.CLIP.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
    )
    model = build_model(cfg)
    losses = model(make_batch((64, 96)))
    losses["loss_sem_seg"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    model.eval()
    assert model(make_batch((70, 50)))[0]["sem_seg"].shape == (6, 70, 50)


def test_imagenet_resnet_gets_a_pool_of_clips_shape() -> None:
    cfg = make_cfg(
        "quickstart/icpc_tiny.yaml",
        *("MODEL.BACKBONE.NAME", "build_pooled_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES"),
        *(["res2", "res3", "res4", "res5"], "MODEL.CLIP.IMAGE_SIZE", 224),
    )
    backbone = build_backbone(cfg)
    outputs = backbone(torch.randn(1, 3, 64, 96))
    width = clip.get_architecture("tiny-RN")["embed_dim"]
    assert outputs["dense_embed"].shape == (1, width, 2, 3)
    assert outputs["global_embed"].shape == (1, width)
    assert backbone.attnpool.positional_embedding.shape == (50, 2048)
    assert outputs["res2"].shape == (1, 256, 16, 24)


def test_a_vision_transformer_with_a_resnet() -> None:
    options = ["MODEL.BACKBONE.NAME", "build_clip_vit_backbone", "MODEL.CLIP.ARCH", "tiny-RN"]
    with pytest.raises(
        ValueError, match=r"MODEL\.CLIP\.ARCH 'tiny-RN' has no vision transformer.*MODEL\.BACKBONE\.NAME"
    ):
        build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
    options = ["MODEL.BACKBONE.NAME", "build_clip_resnet_backbone", "MODEL.CLIP.ARCH", "tiny-ViT"]
    with pytest.raises(ValueError, match=r"MODEL\.CLIP\.ARCH 'tiny-ViT'.*MODEL\.BACKBONE\.NAME"):
        build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
