"""The checkpoints that a training saves of itself."""

import logging
from dataclasses import dataclass
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.checkpoint_folder import FINAL, checkpoint_name, remove_leftovers, thin_out
from icpc_d2.engine.run_folder.output_folder import OutputFolder

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Checkpoints(HookBase):
    """Saves every `period` iterations, at the end, and where the training ends early between two steps.

    Within a step, from its forward pass on, a model is neither what it was (BatchNorm has seen the batch) nor what it
    will be: a training that fails there continues from the last periodic checkpoint.

    It acts right after the hooks that change what is saved, and before evaluation.
    """

    checkpointer: ICPCCheckpointer  # of the training; saves in the main process alone
    model: nn.Module  # as the training calls it
    period: int  # iterations
    kept: int  # how many of the newest are kept; 0: all

    def before_train(self) -> None:
        """Take the folder, so that no other training writes to it, and clear what a killed run has left."""
        self._folder, self._in_step = OutputFolder(Path(self.checkpointer.save_dir)), False
        self._done = self._saved = self.trainer.start_iter - 1  # the last iteration done, saved
        # A lambda: deepcopy(model) would deep-copy a bound hook's trainer.
        self._mark = self.model.register_forward_pre_hook(lambda module, inputs: self._begin_step(module))
        if comm.is_main_process():
            self._folder.lock()
            remove_leftovers(self._folder.path)
            self._folder.cut_metrics(self.trainer.start_iter)
        if self.trainer.start_iter >= self.trainer.max_iter and not (self._folder.path / FINAL).is_file():
            self._save("model_final")  # an earlier run ended right before it

    def after_step(self) -> None:
        """Save every `period` iterations, and after the last one."""
        self._done, self._in_step = self.trainer.iter, False
        if (self._done + 1) % self.period == 0:
            self._save(checkpoint_name(self._done))
        if self._done + 1 == self.trainer.max_iter:
            self._save("model_final")

    def after_train(self) -> None:
        """Save an iteration that is done but not saved yet."""
        self._mark.remove()
        try:
            if self._in_step or self._done + 1 >= self.trainer.max_iter:
                return
            if self._done > self._saved:
                self._save(checkpoint_name(self._done))
            logger.info("The training ended early: continue with --resume.")
        finally:
            self._folder.unlock()

    def _save(self, name: str) -> None:
        trainer, iteration = self.trainer, self.trainer.iter
        self._saved = self._done  # or tried to: a full disk is not tried again when the training ends
        # After a failure the trainer counts an iteration that is not done.
        trainer.iter = self._done
        try:
            self.checkpointer.save(name, iteration=self._done)
        finally:
            trainer.iter = iteration
        if comm.is_main_process():
            thin_out(self._folder.path, self._done, self.kept)

    def _begin_step(self, module: nn.Module) -> None:
        self._in_step = self._in_step or module.training
