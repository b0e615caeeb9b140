"""Keys of the solver that are changed before a training is resumed: they count, or are refused."""

import logging
from pathlib import Path

import pytest
import torch

from tests.support.training import make_data, make_trainer, train

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """The output folder of a training of two iterations, which is to have eight."""
    train(data, tmp_path, SOLVER__MAX_ITER=2, TEST__EVAL_PERIOD=0)
    (tmp_path / "model_final.pth").rename(tmp_path / "model_0000001.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    return tmp_path


def test_what_is_changed_before_a_resume_counts(
    data: Path, run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = make_trainer(data, run, resume=True)
    monkeypatch.setattr(logging.getLogger("icpc_d2"), "propagate", True)
    changed = make_trainer(data, run, resume=True, SOLVER__BASE_LR=6e-3, SOLVER__WEIGHT_DECAY=0.5)
    assert same.start_iter == changed.start_iter == 2
    assert any("learning rate 0.003 -> 0.006, weight_decay 0.01 -> 0.5." in text for text in caplog.messages)
    for before, after in zip(same.optimizer.param_groups, changed.optimizer.param_groups, strict=True):
        # Both are decayed to the same end, 1e-6, so that the rate is not quite twice as high.
        assert after["lr"] == pytest.approx(2 * before["lr"], rel=1e-2)
        assert after["weight_decay"] == (0.5 if before["weight_decay"] else 0)
        moments = [group["params"][0] for group in (before, after)]
        states = [trainer.optimizer.state[p]["exp_avg"] for trainer, p in zip((same, changed), moments, strict=True)]
        assert torch.equal(*states), "the optimizer's moments are those of the checkpoint"
    changed.train()
    assert changed.optimizer.param_groups[0]["initial_lr"] == 6e-3


def test_nothing_is_said_of_an_unchanged_config(data: Path, run: Path) -> None:
    make_trainer(data, run, resume=True)
    assert "The config has changed" not in (run / "log.txt").read_text()


def test_other_groups_of_parameters_are_refused(data: Path, run: Path) -> None:
    with pytest.raises(
        ValueError, match=r"other groups of parameters than this config makes: .*SOLVER\.BACKBONE_MULTIPLIER"
    ):
        make_trainer(data, run, resume=True, SOLVER__BACKBONE_MULTIPLIER=0.1)
