"""docs/lazyconfig.md: the file to start from, and the config, of which a model is built."""

from pathlib import Path

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from torch import nn

from tests.support.checkpoints import make_clip, save_as_openai
from tests.support.datasets import save_folder_dataset
from tests.support.documents import commands_of, read, run, snippet

PAGE = read("docs/lazyconfig.md")


def test_the_file_to_start_from_holds_clip_by_the_model_s_names(clone: Path) -> None:
    clip = make_clip("tiny-RN")
    save_as_openai(clip, clone / "RN50.pt")
    code = snippet(PAGE, "start.py").replace("clip://RN50", "RN50.pt").replace("icpc_R50.py", "icpc_tiny.py")
    exec(code, {})

    model = instantiate(LazyConfig.load("configs/lazy/icpc_tiny.py").model)
    DetectionCheckpointer(model).load("clip_RN50.pth")
    for ours, theirs in ((model.backbone.visual.layer1, clip.visual.layer1), (model.text_encoder, clip)):
        assert_same(ours.state_dict(), theirs.half().float().state_dict())


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found
    for name, value in found.items():
        assert torch.equal(value, wanted[name]), name


def test_the_config_of_ones_own(clone: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (where,) = commands_of("docs/lazyconfig.md")
    run(where, monkeypatch)
    save_folder_dataset(clone / "mine")
    (clone / "mine/classes.txt").write_text("sky\nroad\ntree\n")
    (clone / "my_icpc.py").write_text(snippet(PAGE, "my_icpc.py"))
    cfg = LazyConfig.load("my_icpc.py")
    model: nn.Module = instantiate(cfg.model)
    assert model.class_tokens.names == ["sky", "road", "tree"]
    assert model.prompt.vectors.shape == (8, 64)
    assert len(model.context_decoder.layers) == 1
    batch = next(iter(instantiate(cfg.dataloader.train)))
    assert all(loss.isfinite() for loss in model(batch).values())
