"""Random numbers as a function of the iteration, so that a resumed training draws the same as an uninterrupted one.

The data loader does the same for its samples, see :mod:`icpc_d2.data.loader`.
"""

import logging
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm

from icpc_d2.engine.run_folder.provenance import read_starts

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class SeedEachIteration(HookBase):
    """Seeds torch, numpy and Python before each iteration, differently in each process, by the training's seed >= 0."""

    seed: int

    def before_step(self) -> None:
        """Seed by (seed, iteration, rank)."""
        seeds = np.random.SeedSequence((self.seed, self.trainer.iter, comm.get_rank())).generate_state(3)
        torch.manual_seed(int(seeds[0]))
        np.random.seed(seeds[1])
        random.seed(int(seeds[2]))


def resolve_seed(cfg: CfgNode, resume: bool) -> None:
    """If ``SEED`` is -1, write the resumed run's seed into the config, in place, else draw one."""
    if cfg.SEED >= 0:
        return
    starts = read_starts(Path(cfg.OUTPUT_DIR)) if resume else []
    cfg.SEED = starts[-1]["seed"] if starts else comm.shared_random_seed()
    logger.info(f"SEED: -1 -> {cfg.SEED} ({'as before' if starts else 'drawn'}).")
