import json
import sys
from pathlib import Path

import pytest

from icpc_d2.engine.hooks.wandb import WandbRun
from tests.support.checkpoints import tiny_cfg


def test_weights_and_biases_gets_the_config_and_all_of_tensorboard(run: Path, fake_wandb: list) -> None:
    (found,) = fake_wandb
    assert (found.options["project"], found.options["name"]) == ("segments", "a_run")
    assert found.options["config"]["SOLVER"]["BASE_LR"] == 0.003
    # The last evaluation's, too: the run ends after everything is written.
    results = json.loads((run / "results.json").read_text())
    assert found.scalars["sem_seg/mIoU"] == pytest.approx(results["mIoU"])
    assert found.scalars["loss_sem_seg"] > 0


def test_weights_and_biases_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        WandbRun(tiny_cfg("WANDB.PROJECT", "segments"))
