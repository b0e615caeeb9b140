import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from icpc_d2.analysis.random_models import build_random
from icpc_d2.engine.hooks.records import GradientNorm, groups_table, parameter_groups
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.modeling.losses import ContrastiveLoss
from tests.support.checkpoints import tiny_cfg

SCALARS = {
    "lr",
    "lr_of/image_backbone",
    "lr_of/all_other_parts",
    "loss_sem_seg",
    "loss_align",
    "loss_contrast",
    "total_loss",
    "lambda_mean",
    "hard_points",
    "gradient_norm",
    "images_per_second",
    "peak_memory_mb",
    "sem_seg/mIoU",
}


def test_tensorboard_shows_what_a_training_does(board: EventAccumulator) -> None:
    assert set(board.Tags()["scalars"]) >= SCALARS
    values = {name: [event.value for event in board.Scalars(name)] for name in SCALARS}
    assert all(np.isfinite(value).all() for value in values.values())
    assert values["gradient_norm"][0] > 0 and values["images_per_second"][0] > 0 and values["peak_memory_mb"][0] > 50
    assert all(0 <= share <= 1 for share in values["hard_points"])
    # Recorded when the decay is at its end, which is one rate for all groups.
    for group in ("image_backbone", "all_other_parts"):
        np.testing.assert_allclose(values[f"lr_of/{group}"], [1e-6], rtol=1e-5)


def test_metrics_json_has_the_same(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]
    names = set().union(*lines)
    assert names >= SCALARS


def test_the_norm_is_of_all_gradients() -> None:
    hook, model = GradientNorm(), nn.Linear(2, 1)
    model(torch.tensor([[3.0, 4.0]])).sum().backward()
    hook.trainer = SimpleNamespace(iter=19, model=model)
    with EventStorage() as storage:
        hook.after_backward()
        assert storage.latest()["gradient_norm"][0] == pytest.approx(26**0.5)
        hook.trainer.iter = 20
        model.weight.grad.zero_()
        hook.after_backward()
        assert storage.latest()["gradient_norm"][0] == pytest.approx(26**0.5)


def test_the_share_of_hard_points_follows_the_schedule() -> None:
    loss = ContrastiveLoss(4, 0.1, "easy_to_hard", False, 255)
    labels = torch.arange(2).repeat_interleave(32).reshape(1, 8, 8)
    scores = nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
    scores[:, :, :, ::2] = scores[:, :, :, ::2].flip(1)  # every second column is wrong
    for progress in (0.0, 0.5, 1.0):
        with EventStorage() as storage:
            loss(scores, labels, progress)
            assert storage.latest()["hard_points"][0] == progress
    loss(scores, labels, 0.5)
    with EventStorage() as storage:
        loss(scores, torch.full_like(labels, 255), 0.5)
        assert "hard_points" not in storage.latest()


def test_the_log_begins_with_both_tables(run: Path) -> None:
    log = (run / "log.txt").read_text()
    assert log.index("Parameters and their highest learning rates") < log.index("Cost of the forward pass")
    assert "one image of 64 x 64 pixels" in log
    rows = {line.split("  ")[0]: line.split() for line in log.splitlines()}
    assert rows["image backbone"][-2] == "0.0015" and rows["all other parts"][-2] == "0.003"
    assert rows["frozen"][1].isdecimal() and float(rows["total"][1]) > 0.01


def test_groups_are_all_parameters() -> None:
    cfg = tiny_cfg("SOLVER.BACKBONE_MULTIPLIER", 0.1)
    model = build_random(cfg)
    groups = parameter_groups(model, build_optimizer(cfg, model))
    trained = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    assert (sum(group.tensors for group in groups), sum(group.numbers for group in groups)) == (
        len(trained),
        sum(trained),
    )
    assert {(group.parts, round(group.learning_rate, 6)) for group in groups} == {
        ("image backbone", 0.0003),
        ("all other parts", 0.003),
    }
    everything = sum(parameter.numel() for parameter in model.parameters())
    table = groups_table(model, groups)
    assert f"{everything - sum(trained):,}" in table.splitlines()[-1]
    same = tiny_cfg("SOLVER.BACKBONE_MULTIPLIER", 1.0)
    assert {group.parts for group in parameter_groups(model, build_optimizer(same, model))} == {"all parts"}
