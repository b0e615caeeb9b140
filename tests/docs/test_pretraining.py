"""docs/pretraining.md: its commands, with few and small pictures."""

from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.documents import commands_of, run
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
