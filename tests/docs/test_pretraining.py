"""docs/pretraining.md: its commands, with few and small pictures."""

from pathlib import Path

import pytest
import torch

from icpc_d2.checkpoint.clip_weights import read_weights
from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.documents import commands_of, read, run, snippet
from tests.support.pretraining import FEW_SCENES
from tests.support.results import read_results


def test_pretraining(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(clone / "output/quickstart", tiny_cfg())
    settings = FEW_SCENES | {"SOLVER.MAX_ITER": 2, "MODEL.DEVICE": "cpu"}
    few = [str(word) for pair in settings.items() for word in pair]
    for command in commands_of("docs/pretraining.md"):
        run(command, monkeypatch, ["--scenes", "3"] if "--words" in command else few)
    packed, again = (read_results(clone / f"output/pretrain/{name}") for name in ("tiny_RN_mosaics", "again"))
    assert packed["scenes/zero_shot"].keys() == again["scenes/zero_shot"].keys()
    exec(snippet(read("docs/pretraining.md"), "mean"), {})
    before, after, mean = (
        read_weights(str(clone / f"output/pretrain/{name}.safetensors"))["model"]
        for name in ("before", "after", "tiny-ViT")
    )
    assert not torch.equal(before["visual.conv1.weight"], after["visual.conv1.weight"])
    for name in after:
        wanted = (before[name] + after[name]) / 2
        assert torch.allclose(mean[name], wanted, rtol=1e-3, atol=1e-6), name  # half precision
