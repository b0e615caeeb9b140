"""What a training tells: one run of a few iterations on tiny pictures, and each part by itself."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.events import EventStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from icpc_d2.analysis.cost import count_image
from icpc_d2.analysis.macs import meta_image
from icpc_d2.analysis.memory import peak_memory
from icpc_d2.analysis.random_models import build_random
from icpc_d2.data.folders import register_folders
from icpc_d2.engine import Trainer
from icpc_d2.engine.hooks.model_summary import cost_table, count_parts, groups_table, meta_copy, parameter_groups
from icpc_d2.engine.hooks.records import GradientNorm
from icpc_d2.engine.hooks.wandb import WandbRun
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.modeling.losses import ContrastiveLoss
from tests.support.checkpoints import tiny_cfg
from tests.support.datasets import SCENE_CLASSES

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


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of 20 iterations with two evaluations, and its log as ``log.txt``."""
    output = tmp_path_factory.mktemp("run")
    datasets = [f"folder:{scenes}/train", f"folder:{scenes}/val"]
    register_folders(datasets)
    cfg = tiny_cfg(
        "OUTPUT_DIR", str(output), "DATASETS.TRAIN", datasets[:1], "DATASETS.TEST", datasets[1:],
        "MODEL.CLASS_NAMES", SCENE_CLASSES, "SOLVER.MAX_ITER", 20, "SOLVER.IMS_PER_BATCH", 2,
        "SOLVER.BACKBONE_MULTIPLIER", 0.5, "TEST.EVAL_PERIOD", 10, "TEST.SEM_SEG.NUM_PICTURES", 0,
        "INPUT.MIN_SIZE_TRAIN", [64], "INPUT.CROP.SIZE", [64, 64], "DATALOADER.NUM_WORKERS", 0,
    )  # fmt: skip
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("icpc_d2")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=False)
        trainer.train()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        for name in datasets:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    (output / "log.txt").write_text("\n".join(messages))
    return output


@pytest.fixture(scope="module")
def board(run: Path) -> EventAccumulator:
    """What TensorBoard reads."""
    accumulator = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_shows_what_a_training_does(board: EventAccumulator) -> None:
    assert set(board.Tags()["scalars"]) >= SCALARS
    values = {name: [event.value for event in board.Scalars(name)] for name in SCALARS}
    assert all(np.isfinite(value).all() for value in values.values())
    assert values["gradient_norm"][0] > 0 and values["images_per_second"][0] > 0 and values["peak_memory_mb"][0] > 50
    assert all(0 <= share <= 1 for share in values["hard_points"])
    ratios = np.array(values["lr_of/image_backbone"]) / np.array(values["lr_of/all_other_parts"])
    np.testing.assert_allclose(ratios, 0.5)


def test_metrics_json_has_the_same(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]
    names = set().union(*lines)
    assert names >= SCALARS


def test_pictures_of_the_same_samples_at_each_evaluation(board: EventAccumulator) -> None:
    tags = board.Tags()["images"]
    assert sorted(tags) == [f"validation/{index}" for index in range(3)]
    for tag in tags:
        first, last = board.Images(tag)
        assert first.step < last.step
        assert (first.width, first.height) == (last.width, last.height)
        assert first.width > 4 * 400
    sizes = {board.Images(tag)[0].encoded_image_string for tag in tags}
    assert len(sizes) == 3


def test_the_first_page_of_the_log(run: Path) -> None:
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


def test_the_cost_is_that_of_the_tool_and_the_model_is_left_alone() -> None:
    model = build_random(tiny_cfg()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    counted = count_parts(model, 100, 90)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # The tool adds the up-sampling to full size, four per class and pixel.
    upsampling = 4 * len(model.class_tokens) * 128 * 96
    assert counted.total() == count_image(model.to("meta").eval(), meta_image(128, 96)).total() - upsampling
    assert "text_encoder" in cost_table(counted)


def test_other_models_are_counted_too() -> None:
    head = nn.Conv2d(3, 2, 1)

    class Segmentor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.sem_seg_head = nn.Conv2d(3, 3, 1), Head()

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = head

        def forward(self, x: torch.Tensor, labels: None) -> torch.Tensor:
            return self.conv(x)

    assert count_parts(Segmentor(), 4, 5) == {"backbone": 9 * 20, "sem_seg_head": 6 * 20}
    assert count_parts(nn.Linear(1, 1), 4, 5) == {}


def test_a_copy_without_content_shares_nothing() -> None:
    model = build_random(tiny_cfg())
    copy = meta_copy(model)
    assert {p.device.type for p in [*copy.parameters(), *copy.buffers()]} == {"meta"}
    assert [n for n, p in copy.named_parameters() if p.requires_grad] == [
        n for n, p in model.named_parameters() if p.requires_grad
    ]


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


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what Linux says")
def test_peak_memory_is_the_systems() -> None:
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    assert peak_memory(torch.device("cpu")) == pytest.approx(peak / 1024, rel=0.05)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    """What is asked of a library that stands in for Weights & Biases'."""
    found: list[tuple[str, dict]] = []
    finish: Callable[[], None] = lambda: found.append(("finish", {}))  # noqa: E731
    init = lambda **options: found.append(("init", options)) or SimpleNamespace(finish=finish)  # noqa: E731
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return found


def test_weights_and_biases_gets_the_config_and_all_of_tensorboard(calls: list, tmp_path: Path) -> None:
    hook = WandbRun(tiny_cfg("WANDB.PROJECT", "segments", "OUTPUT_DIR", str(tmp_path / "a_run")))
    assert not calls
    hook.before_train()
    hook.after_train()
    (name, options), end = calls
    assert (name, options["project"], options["name"], options["sync_tensorboard"]) == (
        "init",
        "segments",
        "a_run",
        True,
    )
    assert options["config"]["SOLVER"]["BASE_LR"] == 0.003
    assert end[0] == "finish"


def test_weights_and_biases_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        WandbRun(tiny_cfg("WANDB.PROJECT", "segments"))
