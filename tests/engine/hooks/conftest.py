"""One training of a few iterations on tiny images, for all that its hooks leave."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from icpc_d2.data.folders import register_folders
from icpc_d2.engine import Trainer
from tests.support.checkpoints import tiny_cfg
from tests.support.datasets import SCENE_CLASSES


class FakeWandbRun:
    """A run of Weights & Biases that takes over what TensorBoard's files hold up to its end.

    Attributes:
        options: that it was started with.
        scalars: the last value of each, by name; empty until the run is finished.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.scalars: dict[str, float] = {}

    def finish(self) -> None:
        if self.options["sync_tensorboard"]:
            board = read_board(Path(self.options["dir"]))
            self.scalars = {name: board.Scalars(name)[-1].value for name in board.Tags()["scalars"]}


def read_board(folder: Path) -> EventAccumulator:
    """Read what TensorBoard shows of a run."""
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


@pytest.fixture(scope="session")
def run_cfg(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> CfgNode:
    """A training of 20 iterations with two evaluations that reports to Weights & Biases."""
    datasets = [f"folder:{scenes}/train", f"folder:{scenes}/val"]
    register_folders(datasets)
    yield tiny_cfg(
        "OUTPUT_DIR", str(tmp_path_factory.mktemp("runs") / "a_run"), "WANDB.PROJECT", "segments",
        "DATASETS.TRAIN", datasets[:1], "DATASETS.TEST", datasets[1:], "MODEL.CLASS_NAMES", SCENE_CLASSES,
        "SOLVER.MAX_ITER", 20, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.BACKBONE_MULTIPLIER", 0.5, "TEST.EVAL_PERIOD", 10,
        "INPUT.MIN_SIZE_TRAIN", [64], "INPUT.CROP.SIZE", [64, 64], "DATALOADER.NUM_WORKERS", 0,
        "TEST.SEM_SEG.NUM_PICTURES", 0,
    )  # fmt: skip
    for name in datasets:  # unless another test has removed what it found
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


@pytest.fixture(scope="session")
def fake_wandb() -> list[FakeWandbRun]:
    """The runs that a library which stands in for Weights & Biases' has started."""
    runs: list[FakeWandbRun] = []
    with pytest.MonkeyPatch.context() as patch:
        init = lambda **options: runs.append(FakeWandbRun(**options)) or runs[-1]  # noqa: E731
        patch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
        yield runs


@pytest.fixture(scope="session")
def run(run_cfg: CfgNode, fake_wandb: list[FakeWandbRun]) -> Path:
    """The output folder of the training, and its log as ``log.txt``."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("icpc_d2")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        trainer = Trainer(run_cfg)
        trainer.resume_or_load(resume=False)
        trainer.train()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    output = Path(run_cfg.OUTPUT_DIR)
    (output / "log.txt").write_text("\n".join(messages))
    return output


@pytest.fixture(scope="session")
def board(run: Path) -> EventAccumulator:
    """The scalars and images of the training in TensorBoard."""
    return read_board(run)
