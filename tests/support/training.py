"""A training of a second or two, for faults to be done to, and everything that must not depend on them."""

import hashlib
import json
import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from PIL import Image
from torch import Tensor

from icpc_d2.config import get_config_file
from icpc_d2.engine import Trainer, setup
from icpc_d2.engine.hooks.records import ModelSummary
from icpc_d2.engine.hooks.validation_images import ValidationImages
from tests.support.results import read_results

CLASSES = 3
TRACE = "trace.jsonl"
SIZES = {
    "MODEL.DEVICE": "cpu",
    "MODEL.CONTEXT_DECODER.WIDTH": "16",
    "MODEL.CONTEXT_DECODER.NUM_LAYERS": "1",
    "MODEL.FPN.OUT_CHANNELS": "32",
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": "32",
    "INPUT.MIN_SIZE_TRAIN": "(32,)",
    "INPUT.CROP.SIZE": "(32,32)",
    "INPUT.MIN_SIZE_TEST": "32",
    "DATALOADER.NUM_WORKERS": "0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.WARMUP_ITERS": "1",
    "SOLVER.MAX_ITER": "8",
    "SOLVER.CHECKPOINT_PERIOD": "2",
    "TEST.EVAL_PERIOD": "5",
}


def make_data(folder: Path, num_train: int = 6, num_val: int = 2) -> Path:
    """Write a folder data set of small pictures; returns the folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", num_train), ("val", num_val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            label = rng.integers(0, CLASSES, (4, 5), np.uint8).repeat(10, 0).repeat(10, 1)
            noise = rng.integers(0, 60, (*label.shape, 3), np.uint8)
            Image.fromarray(60 * label[..., None] + noise).save(folder / "images" / split / f"{index}.png")
            Image.fromarray(label).save(folder / "labels" / split / f"{index}.png")
    (folder / "classes.txt").write_text("".join(f"class {index}\n" for index in range(CLASSES)))
    return folder


def arguments(data: Path, output: Path, *, resume: bool = False, **overrides: Any) -> Namespace:
    """The command line of a tiny training.

    Args:
        overrides: of the config, with "__" for the dots.
    """
    keys = SIZES | {"OUTPUT_DIR": str(output)} | {key.replace("__", "."): str(v) for key, v in overrides.items()}
    keys |= {f"DATASETS.{key}": f"('folder:{data}/{split}',)" for key, split in (("TRAIN", "train"), ("TEST", "val"))}
    options = [word for pair in keys.items() for word in pair]
    return Namespace(config_file=get_config_file("camvid/icpc_tiny.yaml"), opts=options, resume=resume, eval_only=False)


def make_trainer(data: Path, output: Path, *, resume: bool = False, **overrides: Any) -> Trainer:
    """A trainer that is ready to train."""
    trainer = Trainer(setup(arguments(data, output, resume=resume, **overrides)))
    trainer.resume_or_load(resume=resume)
    trainer._trainer.register_hooks([Trace(output)])
    # They look on, and take half of the time of so short a training.
    trainer._hooks = [hook for hook in trainer._hooks if not isinstance(hook, ModelSummary | ValidationImages)]
    return trainer


def train(data: Path, output: Path, *, resume: bool = False, **overrides: Any) -> Trainer:
    """Train to the end."""
    trainer = make_trainer(data, output, resume=resume, **overrides)
    trainer.train()
    return trainer


class Trace(HookBase):
    """Writes a line for each iteration: a hash of the data and of all random numbers, rate, and t / T of Eq. 7."""

    def __init__(self, output: Path) -> None:
        self._path = output / TRACE

    def after_backward(self) -> None:
        trainer = self.trainer  # what runs a single iteration
        digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
        digest.update(repr((np.random.get_state()[1].tolist(), random.getstate())).encode())
        for sample in trainer.batches[0]:
            digest.update(sample["file_name"].encode())
            digest.update(sample["image"].numpy().tobytes() + sample["sem_seg"].numpy().tobytes())
        rate = trainer.optimizer.param_groups[0]["lr"]
        line = {"iteration": trainer.iter, "digest": digest.hexdigest(), "lr": rate}
        with self._path.open("a") as file:
            file.write(json.dumps(line | {"progress": trainer.model.progress()}) + "\n")


def read_trace(output: Path) -> list[dict[str, Any]]:
    """The lines of :class:`Trace`; not one that a killed run has left unfinished."""
    path = output / TRACE
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def end_state(output: Path) -> dict[str, Any]:
    """Everything that a training leaves and that another one must leave to the bit, by name."""
    return {
        "final": torch.load(output / "model_final.pth", weights_only=True),
        "best": torch.load(output / "model_best.pth", weights_only=True),
        "best figure": json.loads((output / "model_best.json").read_text()),
        "figures": read_results(output),
    }


def difference(found: Any, wanted: Any, name: str = "") -> str:
    """The first place where two nested structures of tensors and plain data differ; empty, if they are the same."""
    if type(found) is not type(wanted):
        return f"{name}: {type(found).__name__} and {type(wanted).__name__}"
    if isinstance(wanted, Tensor):
        same = found.dtype == wanted.dtype and found.shape == wanted.shape and torch.equal(found, wanted)
        return "" if same else f"{name}: tensors"
    if isinstance(wanted, dict):
        if list(found) != list(wanted):
            return f"{name}: keys {sorted(map(str, found.keys() ^ wanted.keys()))}"
        return next(filter(None, (difference(found[key], wanted[key], f"{name}.{key}") for key in wanted)), "")
    if isinstance(wanted, list | tuple):
        if len(found) != len(wanted):
            return f"{name}: lengths {len(found)} and {len(wanted)}"
        pairs = enumerate(zip(found, wanted, strict=True))
        return next(filter(None, (difference(a, b, f"{name}.{index}") for index, (a, b) in pairs)), "")
    return "" if found == wanted else f"{name}: {found!r} and {wanted!r}"


def run_difference(output: Path, undisturbed: Path) -> str:
    """How a run that was ended and continued differs from one that was not; empty: not at all."""
    wanted = {line["iteration"]: line for line in read_trace(undisturbed)}
    lines = read_trace(output)
    missing = wanted.keys() - {line["iteration"] for line in lines}
    if missing:
        return f"iterations {sorted(missing)} were left out"
    wrong = next((line for line in lines if line != wanted[line["iteration"]]), None)
    if wrong is not None:
        return f"{wrong} instead of {wanted[wrong['iteration']]}"
    return difference(end_state(output), end_state(undisturbed))
