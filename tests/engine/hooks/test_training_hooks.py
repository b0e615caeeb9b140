"""The order of the hooks, in which they act on what the ones before them have left."""

import pytest
from detectron2.config import CfgNode
from detectron2.utils import comm

from icpc_d2.engine import Trainer

OF_EVERY_PROCESS = ["IterationTimer", "LRScheduler", "Checkpoints", "StopOnSignal", "EvalHook", "CaughtUpEvaluation"]


@pytest.fixture
def everything(run_cfg: CfgNode) -> CfgNode:
    cfg = run_cfg.clone()
    cfg.merge_from_list(["SEED", 0, "TEST.PRECISE_BN.ENABLED", True])
    return cfg


def names(hooks: list) -> list[str]:
    return [type(hook).__name__ for hook in hooks]


@pytest.mark.usefixtures("fake_wandb")
def test_a_training_with_everything_on(everything: CfgNode) -> None:
    trainer = Trainer(everything)
    assert names(trainer._hooks) == [
        "SeedEachIteration",
        "IterationTimer",
        "LRScheduler",
        "PreciseBN",
        "Checkpoints",
        "StopOnSignal",
        "EvalHook",
        "BestCheckpointer",
        "CaughtUpEvaluation",
        "ModelSummary",
        "Records",
        "ValidationImages",
        "PeriodicWriter",
        "WandbRun",
    ]
    assert names(trainer._trainer._hooks) == ["NonFiniteLosses", "GradientNorm"]


def test_other_processes_train_and_evaluate_alone(everything: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    trainer = Trainer(everything)
    timer, rate, *others = OF_EVERY_PROCESS
    assert names(trainer._hooks) == ["SeedEachIteration", timer, rate, "PreciseBN", *others]
    assert names(trainer._trainer._hooks) == ["NonFiniteLosses"]


def test_a_training_with_everything_off(everything: CfgNode) -> None:
    off = ["SEED", -1, "TEST.PRECISE_BN.ENABLED", False, "WANDB.PROJECT", "", "DATASETS.TEST", []]
    everything.merge_from_list(off)
    assert names(Trainer(everything)._hooks) == [*OF_EVERY_PROCESS, "ModelSummary", "Records", "PeriodicWriter"]


@pytest.mark.parametrize(("metric", "better"), [("sem_seg/loss", 0.1), ("sem_seg/mIoU", 0.3)])
def test_the_best_loss_is_the_lowest_and_the_best_figure_the_highest(
    everything: CfgNode, metric: str, better: float
) -> None:
    everything.merge_from_list(["WANDB.PROJECT", "", "SOLVER.BEST_METRIC", metric])
    (hook,) = (hook for hook in Trainer(everything)._hooks if type(hook).__name__ == "BestCheckpointer")
    assert hook._compare(better, 0.2) and not hook._compare(0.4 - better, 0.2)
