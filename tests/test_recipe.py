"""The paper's rows against DenseCLIP's code: synchronized BatchNorm and start values; the tiny models' own."""

import pytest
import torch
from detectron2.layers import NaiveSyncBatchNorm
from detectron2.modeling import build_model
from torch import Tensor, nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.analysis.macs import build_on_meta
from icpc_d2.config.resolve import resolve_norms
from tests.support.configs import read
from tests.support.models import NAMES, make_cfg


def rms(x: Tensor) -> float:
    return x.detach().square().mean().sqrt().item()


@pytest.mark.parametrize(
    ("config", "num_norms", "device", "kind"),
    [
        ("denseclip_R50", 55 + 7, "cuda", nn.SyncBatchNorm),
        ("denseclip_R50", 55 + 7, "cpu", NaiveSyncBatchNorm),
        ("clip_fpn_R101", 106 + 7, "cuda", nn.SyncBatchNorm),
        ("icpc_ViTB", 1 + 7, "cuda", nn.SyncBatchNorm),
        ("semantic_fpn_R50", 55 + 7, "cuda", nn.SyncBatchNorm),
    ],
)
def test_every_batch_norm_of_two_processes_is_synchronized(
    config: str, num_norms: int, device: str, kind: type[nn.Module]
) -> None:
    """Backbone and decoder: SyncBN on GPUs, and what stands in for it on CPUs."""
    cfg = read(f"ade20k/{config}.yaml")
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.DEVICE = NAMES, device
    resolve_norms(cfg, num_processes=2)
    norms = [m for m in build_on_meta(cfg).modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(norm) for norm in norms} == {kind}
    assert len(norms) == num_norms


def build(config: str, *options: object) -> nn.Module:
    """A row's model, its decoder 256 wide as published, on a tiny CLIP."""
    torch.manual_seed(0)
    width = ("MODEL.FPN.OUT_CHANNELS", 256, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 256)
    return build_model(make_cfg(config, "MODEL.CLIP.ARCH", "tiny-RN", *width, *options))


def test_contexts_and_decoder_of_the_papers_rows_start_as_denseclips() -> None:
    """The figures are of a model that DenseCLIP's training program builds."""
    model = build("ade20k/icpc_R50.yaml")
    assert rms(model.prompt.vectors) == pytest.approx(0.88, abs=0.05)
    assert model.prompt.vectors.abs().max() <= 2
    for level in (2, 3, 4, 5):
        lateral, output = (
            model.neck.get_submodule(f"fpn_lateral{level}").conv,
            getattr(model.neck, f"fpn_output{level}"),
        )
        assert rms(lateral.weight) == pytest.approx(0.088, rel=0.03)
        assert rms(output.weight) == pytest.approx(0.0295, rel=0.01)
        assert not lateral.bias.any() and not output.bias.any()
    classifier = model.sem_seg_head.predictor[1]
    assert rms(classifier.weight) == pytest.approx(0.036, rel=0.05)
    assert classifier.weight.abs().max() <= 1 / 16 and 0 < classifier.bias.abs().max() <= 1 / 16


def test_the_baselines_decoder_starts_as_denseclips() -> None:
    model = build("ade20k/clip_fpn_R50.yaml")
    assert rms(model.backbone.fpn_lateral3.weight) == pytest.approx(0.088, rel=0.03)
    assert rms(model.backbone.fpn_output3.weight) == pytest.approx(0.0295, rel=0.01)
    assert rms(model.sem_seg_head.predictor[1].weight) == pytest.approx(0.036, rel=0.05)


def test_contexts_and_decoder_of_the_tiny_models_start_as_before() -> None:
    model = build("quickstart/icpc_tiny.yaml")
    assert rms(model.prompt.vectors) == pytest.approx(0.02, rel=0.1)
    channels = model.neck.fpn_lateral2.conv.in_channels
    assert rms(model.neck.fpn_lateral2.conv.weight) == pytest.approx(channels**-0.5, rel=0.05)
    assert rms(model.neck.fpn_output2.weight) == pytest.approx(2304**-0.5, rel=0.01)
    classifier = model.sem_seg_head.predictor[1]
    assert rms(classifier.weight) == pytest.approx(0.01, rel=0.1) and not classifier.bias.any()


@pytest.mark.parametrize("key", ["MODEL.PROMPT.CONTEXT_INIT", "MODEL.DECODER_INIT"])
def test_other_start_values_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is 'xavier'; wanted is '.*' or 'denseclip'"):
        build("quickstart/icpc_tiny.yaml", key, "xavier")
