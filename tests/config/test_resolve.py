import logging

import pytest
import torch
from detectron2.config import CfgNode, get_cfg

from icpc_d2.config import add_icpc_config
from icpc_d2.config.resolve import resolve_device, resolve_norms, resolve_precision

NORM_KEYS = ("SEM_SEG_HEAD.NORM", "FPN.NORM", "CLIP.VIT_NORM", "CLIP.RESNET_NORM", "RESNETS.NORM")


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_list([value for key in NORM_KEYS for value in (f"MODEL.{key}", "SyncBN")])
    return cfg


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_a_gpu_the_cpu_trains_in_bfloat16(
    cfg: CfgNode, device: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg.MODEL.DEVICE = device
    cfg.SOLVER.AMP.ENABLED = True
    resolve_device(cfg)
    resolve_precision(cfg)
    assert cfg.MODEL.DEVICE == "cpu"
    assert (cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION) == (True, "bfloat16")
    assert "training in bfloat16" in caplog.text
    assert f"MODEL.DEVICE is '{device}' but torch finds no GPU: running on the CPU." in caplog.text


def test_a_gpu_that_is_there_is_used(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cfg.SOLVER.AMP.ENABLED = True
    resolve_device(cfg)
    resolve_precision(cfg)
    assert cfg.MODEL.DEVICE == "cuda"
    assert (cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION) == (True, "float16")


def test_unknown_precisions_are_refused(cfg: CfgNode) -> None:
    cfg.SOLVER.AMP.PRECISION = "fp16"
    with pytest.raises(ValueError, match=r"SOLVER\.AMP\.PRECISION is 'fp16'; it can be one of .*'bfloat16'"):
        resolve_precision(cfg)


@pytest.mark.parametrize(
    ("device", "num_processes", "norm"),
    [("cpu", 1, "BN"), ("cpu", 2, "naiveSyncBN"), ("cuda", 1, "BN"), ("cuda", 2, "SyncBN")],
)
def test_norms_are_what_the_run_can_do(
    cfg: CfgNode, device: str, num_processes: int, norm: str, caplog: pytest.LogCaptureFixture
) -> None:
    cfg.MODEL.DEVICE = device
    cfg.MODEL.FPN.NORM = "GN"
    cfg.OUTPUT_DIR = "SyncBN"  # a folder may be called so
    with caplog.at_level(logging.INFO, "icpc_d2"):
        resolve_norms(cfg, num_processes)
    model = cfg.MODEL
    found = [model.SEM_SEG_HEAD.NORM, model.FPN.NORM, model.CLIP.VIT_NORM, model.CLIP.RESNET_NORM, model.RESNETS.NORM]
    assert found == [norm, "GN", norm, norm, norm]
    assert cfg.OUTPUT_DIR == "SyncBN"
    assert (f"MODEL.SEM_SEG_HEAD.NORM: SyncBN -> {norm}" in caplog.text) == (norm != "SyncBN")
