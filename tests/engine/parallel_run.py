"""Trainings and an evaluation as `test_distributed` compares them, in one process or in those that torchrun starts.

``python -m tests.engine.parallel_run --config-file ... OUTPUT_DIR ... MODEL.WEIGHTS ... [KEY VALUE ...]``
"""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, hooks
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.config.resolve import resolve_norms
from icpc_d2.engine import Trainer, launch, setup

LOSSES = ("loss_sem_seg", "loss_align", "loss_contrast")
# Name of a training -> the options that it adds.
RUNS = {
    "at_once": [],
    "accumulated": ["SOLVER.ACCUMULATE", 2],
    "synchronized": [
        *("MODEL.BACKBONE.NAME", "build_clip_resnet_backbone", "MODEL.CLIP.ARCH", "tiny-RN"),
        *("MODEL.CLIP.RESNET_NORM", "SyncBN", "MODEL.SEM_SEG_HEAD.NORM", "SyncBN", "SOLVER.MAX_ITER", 5),
    ],
}


class Steps(Trainer):
    """The steps of a training, without what goes on around them."""

    def build_hooks(self) -> list[hooks.HookBase]:
        return [hooks.LRScheduler()]


def run_all(cfg: CfgNode) -> None:
    """Train from random weights for each of `RUNS`, evaluate, and leave in the output folder what came of it."""
    facts: dict[str, Any] = {"seeds": comm.all_gather(torch.initial_seed())}
    for name, options in RUNS.items():
        trainer = Steps(changed(cfg, *options))
        trainer.train()
        trainer.checkpointer.save(name)
        histories = trainer.storage.histories()  # of the main process alone
        facts[name] = {loss: [value for value, _ in histories[loss].values()] for loss in LOSSES if loss in histories}
        facts["looks_for_unused"] = getattr(trainer.model, "find_unused_parameters", None)
    model = Trainer.build_model(cfg)
    ICPCCheckpointer(model).load(cfg.MODEL.WEIGHTS or f"{cfg.OUTPUT_DIR}/at_once.pth")
    facts["evaluated"] = Trainer.test(cfg, model)
    if comm.is_main_process():
        Path(cfg.OUTPUT_DIR, "facts.json").write_text(json.dumps(facts))


def changed(cfg: CfgNode, *options: Any) -> CfgNode:
    """A config with other options, after seeding as for a new run."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(list(options))
    resolve_norms(cfg, comm.get_world_size())
    seed_all_rng(cfg.SEED + comm.get_rank())
    return cfg


def main(args: Namespace) -> None:
    run_all(setup(args))


if __name__ == "__main__":
    torch.set_num_threads(1)
    launch(main, default_argument_parser().parse_args())
