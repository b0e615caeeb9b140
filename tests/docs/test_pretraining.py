"""docs/pretraining.md: its commands, with few and small pictures."""

from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.documents import commands_of, run, settings
from tests.support.results import read_results

FEW = settings(
    PRETRAIN__NUM_SCENES=4,
    PRETRAIN__NUM_VAL_SCENES=6,
    PRETRAIN__SIZE="[32,64]",
    SOLVER__IMS_PER_BATCH=4,
    SOLVER__MAX_ITER=2,
    SOLVER__WARMUP_ITERS=1,
    SOLVER__CHECKPOINT_PERIOD=10,
    TEST__EVAL_PERIOD=0,
    DATALOADER__NUM_WORKERS=0,
    MODEL__DEVICE="cpu",
)


def test_pretraining(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(clone / "output/quickstart", tiny_cfg())
    for command in commands_of("docs/pretraining.md"):
        run(command, monkeypatch, ["--scenes", "3"] if "--words" in command else FEW)
    packed, again = (read_results(clone / f"output/pretrain/{name}") for name in ("tiny_RN", "again"))
    assert packed["scenes/zero_shot"].keys() == again["scenes/zero_shot"].keys()
