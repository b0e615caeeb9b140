import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog

from icpc_d2.config import add_icpc_config
from icpc_d2.engine.setup import NORM_KEYS, resolve_classes, resolve_device, resolve_norms, resolve_precision


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_list([value for key in NORM_KEYS for value in (key, "SyncBN")])
    return cfg


@pytest.fixture
def datasets() -> Iterator[None]:
    MetadataCatalog.get("pets").set(stuff_classes=["cat, feline", "dog"], prompt_classes=["cat", "dog"])
    MetadataCatalog.get("plain").set(stuff_classes=["tree", "bush"])
    MetadataCatalog.get("three").set(stuff_classes=["a", "b", "c"])
    yield
    for name in ("pets", "plain", "three"):
        MetadataCatalog.remove(name)


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
    with caplog.at_level(logging.INFO, "icpc_d2"):
        resolve_norms(cfg, num_processes)
    model = cfg.MODEL
    found = [model.SEM_SEG_HEAD.NORM, model.FPN.NORM, model.CLIP.VIT_NORM, model.CLIP.RESNET_NORM, model.RESNETS.NORM]
    assert found == [norm, "GN", norm, norm, norm]
    assert (f"MODEL.SEM_SEG_HEAD.NORM: SyncBN -> {norm}" in caplog.text) == (norm != "SyncBN")


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(("dataset", "names"), [("pets", ["cat", "dog"]), ("plain", ["tree", "bush"])])
def test_classes_come_from_the_training_set(cfg: CfgNode, dataset: str, names: list[str]) -> None:
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (dataset,), ("plain",)
    resolve_classes(cfg)
    assert list(cfg.MODEL.CLASS_NAMES) == names
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 2


@pytest.mark.usefixtures("datasets")
def test_names_of_the_config_win(cfg: CfgNode) -> None:
    cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES = ("pets",), ["kitten", "puppy"]
    resolve_classes(cfg)
    assert cfg.MODEL.CLASS_NAMES == ["kitten", "puppy"]


@pytest.mark.usefixtures("datasets")
def test_data_sets_of_other_classes_need_a_list_of_shared_ones(cfg: CfgNode, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("b | dog")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("pets",), ("three",)
    cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES = [str(tmp_path / "shared.txt")]
    resolve_classes(cfg)
    assert cfg.MODEL.CLASS_NAMES == ["cat", "dog"]
    cfg.DATASETS.TEST = ("plain",)
    with pytest.raises(ValueError, match=r"the data set has no classes \['b'\]"):
        resolve_classes(cfg)
    cfg.DATASETS.TEST = ("ptes",)
    with pytest.raises(ValueError, match=r"'ptes' of DATASETS\.TEST has no classes: check the spelling"):
        resolve_classes(cfg)
    MetadataCatalog.pop("ptes", None)


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATASETS.TEST", ("three",)], "'three' has 3 classes but the model has 2"),
        (["DATASETS.TEST", ("ptes",)], "'ptes' has 0 classes .* check the spelling"),
        (["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 150], "NUM_CLASSES is 150, but .* has 2 class names"),
        (["DATASETS.TRAIN", ()], "no class names"),
    ],
)
def test_contradictions_are_refused(cfg: CfgNode, overrides: list, message: str) -> None:
    cfg.DATASETS.TRAIN = ("pets",)
    cfg.merge_from_list(overrides)
    with pytest.raises(ValueError, match=message):
        resolve_classes(cfg)
    MetadataCatalog.pop("ptes", None)
