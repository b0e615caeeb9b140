"""Random numbers as a function of the iteration, so that a resumed training draws the same as an uninterrupted one.

The data loader does the same for its samples, see :mod:`icpc_d2.data.loader`.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm


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
