"""Trainings on unbalanced classes: weights that are found once, repeated images, and both across a resume."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from PIL import Image

from icpc_d2.config import load_config
from icpc_d2.config.load import ConfigError
from icpc_d2.data.class_frequency import median_frequency_weights
from icpc_d2.engine import Trainer, setup
from icpc_d2.engine.hooks.stopping import Batches, StopOnSignal
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.modeling.losses import WeightedPixelLoss
from tests.support.training import arguments, make_data, make_trainer

SAMPLER = "RepeatFactorTrainingSampler"
REPEAT: dict[str, Any] = {
    "DATALOADER__SAMPLER_TRAIN": SAMPLER,
    "DATALOADER__REPEAT_THRESHOLD": 0.9,
}


@pytest.fixture
def data(tmp_path: Path, logs_as_before: None) -> Path:
    """Six training images, of which the last alone has class 2."""
    folder = make_data(tmp_path / "data")
    for index in range(5):
        file = folder / "labels" / "train" / f"{index}.png"
        label = np.asarray(Image.open(file)) % 2
        Image.fromarray(label.astype(np.uint8)).save(file)
    return folder


def counts_of(data: Path) -> np.ndarray:
    files = sorted((data / "labels" / "train").iterdir())
    return np.stack([np.bincount(np.asarray(Image.open(file)).ravel(), minlength=3) for file in files])


def resolved(data: Path, output: Path, eval_only: bool = False, **overrides: Any) -> CfgNode:
    args = arguments(data, output, **overrides)
    args.eval_only = eval_only
    return setup(args)


def test_median_frequency_becomes_numbers_in_the_config(data: Path, tmp_path: Path) -> None:
    cfg = resolved(data, tmp_path / "out", MODEL__CLASS_WEIGHTS="median_frequency")
    wanted = median_frequency_weights(counts_of(data))
    assert wanted[2] == max(wanted) > 1
    assert list(cfg.MODEL.CLASS_WEIGHTS) == pytest.approx(wanted)
    again = load_config(str(tmp_path / "out" / "config.yaml"))
    assert again.MODEL.CLASS_WEIGHTS == cfg.MODEL.CLASS_WEIGHTS


def test_sets_of_another_order_are_counted_in_the_models(data: Path, tmp_path: Path) -> None:
    """Each image a second time, in a folder that lists the classes backwards."""
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "classes.txt").write_text("class 2\nclass 1\nclass 0\n")
    for file in (other / "labels" / "train").iterdir():
        Image.fromarray(2 - np.asarray(Image.open(file))).save(file)
    args = arguments(data, tmp_path / "out", MODEL__CLASS_WEIGHTS="median_frequency")
    args.opts[args.opts.index("DATASETS.TRAIN") + 1] = f"('folder:{data}/train', 'folder:{other}/train')"
    wanted = median_frequency_weights(counts_of(data))
    assert list(setup(args).MODEL.CLASS_WEIGHTS) == pytest.approx(wanted)


def test_an_evaluation_reads_no_training_labels(data: Path, tmp_path: Path) -> None:
    for file in (data / "labels" / "train").iterdir():
        file.write_bytes(b"")
    cfg = resolved(data, tmp_path, eval_only=True, MODEL__CLASS_WEIGHTS="median_frequency")
    assert cfg.MODEL.CLASS_WEIGHTS == []


def test_a_training_weighs_both_losses_and_the_validation_loss(data: Path, tmp_path: Path) -> None:
    weights = [1.0, 0.5, 3.0]
    trainer = make_trainer(data, tmp_path, MODEL__CLASS_WEIGHTS=weights, SOLVER__MAX_ITER=1, SOLVER__ACCUMULATE=2)
    for part in (trainer.model.sem_seg_head, trainer.model.alignment_loss):
        assert isinstance(part.pixel_loss, WeightedPixelLoss)
        assert part.pixel_loss.class_weights.tolist() == weights
    assert trainer._trainer.class_weights.tolist() == weights
    assert not any("class_weights" in name for name in trainer.model.state_dict())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "CLASS_WEIGHTS has 2 values, .* wanted are 3 numbers, one for each of class 0, class 1, class 2"),
        (["a", "b", "c"], "wanted are 3 numbers"),
        ([1.0, -1.0, 1.0], "wanted are numbers of 0 or more"),
        ([0, 0, 0], "at least one above 0"),
        ("mean_frequency", "CLASS_WEIGHTS has 1 values, .*mean_frequency.* or 'median_frequency'"),
    ],
)
def test_weights_that_cannot_be_are_refused(data: Path, tmp_path: Path, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolved(data, tmp_path, MODEL__CLASS_WEIGHTS=weights)


def test_a_head_that_does_not_know_weights_is_refused(data: Path, tmp_path: Path) -> None:
    head = {"MODEL__SEM_SEG_HEAD__NAME": "SemSegFPNHead", "MODEL__CLASS_WEIGHTS": [1.0, 1.0, 2.0]}
    with pytest.raises(ValueError, match=r"MODEL\.SEM_SEG_HEAD\.NAME is Detectron2's 'SemSegFPNHead'"):
        resolved(data, tmp_path, **head)


def test_repeated_images_are_the_same_across_a_resume(data: Path, tmp_path: Path) -> None:
    """The same files and crops, where a resumed training leaves out what was seen before."""
    cfg = setup(arguments(data, tmp_path, **REPEAT))

    def samples(skipped: int) -> list[dict[str, Any]]:
        batches = Batches(Trainer.build_train_loader(cfg), StopOnSignal())
        batches.skip(skipped)
        return [sample for batch in islice(batches, 10 - skipped // 2) for sample in batch]

    whole, rest = samples(0), samples(6)
    factors = Trainer.build_train_loader(cfg).sampler._sampler
    assert (factors._int_part + factors._frac_part).tolist() == pytest.approx([1] * 5 + [5.4**0.5])
    assert len(rest) == 14
    for found, wanted in zip(rest, whole[6:], strict=True):
        assert (found["file_name"], found["seed"]) == (wanted["file_name"], wanted["seed"])
        assert torch.equal(found["image"], wanted["image"]) and torch.equal(found["sem_seg"], wanted["sem_seg"])


@pytest.mark.parametrize(
    "options",
    [
        ["DATALOADER.SAMPLER_TRAIN", SAMPLER],
        ["DATALOADER.SAMPLER_TRAIN", SAMPLER, "DATALOADER.REPEAT_THRESHOLD", "1.5"],
        ["DATALOADER.REPEAT_THRESHOLD", "0.1"],
    ],
)
def test_a_threshold_that_does_nothing_is_refused(data: Path, tmp_path: Path, options: list[str]) -> None:
    args = arguments(data, tmp_path)
    with pytest.raises(ConfigError, match=r"REPEAT_THRESHOLD is .* wanted is a threshold above 0, up to 1"):
        check_ranges(load_config(args.config_file, options))
