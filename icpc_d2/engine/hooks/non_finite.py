"""Losses that are NaN or infinite: reported with their cause, and never used."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

logger = logging.getLogger(__name__)

FOLDER = "non_finite"


class StepSkippedError(Exception):
    """An iteration whose gradients the optimizer must not use."""


class NonFiniteLosses(HookBase):
    """Looks at the losses after each backward pass of a single step; leaves out at most `max_skipped` iterations.

    The batch of a loss that is not finite is saved below ``non_finite/`` in the output folder: ``torch.load(file)``
    gives a dict with "iteration", "losses", "lr" and "batches", lists of the model's inputs.
    """

    def __init__(self, model: nn.Module, output_dir: str, max_skipped: int) -> None:
        self._output_dir, self._max_skipped = output_dir, max_skipped
        self._num_skipped = 0
        self._seen: list[tuple[list[dict[str, Any]], dict[str, Tensor]]] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []
        # Lambdas: deepcopy(model) would deep-copy a bound hook's trainer.
        model.register_forward_pre_hook(lambda module, inputs: self._keep_buffers(module))
        model.register_forward_hook(lambda module, inputs, losses: self._keep_losses(module, inputs, losses))

    def after_backward(self) -> None:
        """Check the losses of this iteration.

        Raises:
            FloatingPointError: a loss is not finite, in any process.
            StepSkippedError: one is not, but this iteration may be left out.
        """
        seen, self._seen = self._seen, []
        values = [loss.detach() for _, losses in seen for loss in losses.values()]
        is_finite = not values or bool(torch.stack(values).isfinite().all())
        found = [text for text in comm.all_gather("" if is_finite else self._report(seen)) if text]
        if not found:
            return
        message = f"Iteration {self.trainer.iter}: {' '.join(found)}"
        if self._num_skipped >= self._max_skipped:
            raise FloatingPointError(
                f"{message} Look at the files; then lower SOLVER.BASE_LR, set SOLVER.CLIP_GRADIENTS.ENABLED, or leave "
                f"out up to n such batches with SOLVER.SKIP_NON_FINITE n (now {self._max_skipped})."
            )
        self._num_skipped += 1
        for buffer, value in self._buffers:  # BatchNorm's statistics hold what the batch has made of them
            buffer.copy_(value)
        get_event_storage().put_scalar("num_non_finite", self._num_skipped, smoothing_hint=False)
        logger.warning(f"{message} Left out, number {self._num_skipped} of at most {self._max_skipped}.")
        raise StepSkippedError

    def state_dict(self) -> dict[str, int]:
        """Return how many iterations were left out."""
        return {"num_skipped": self._num_skipped}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue the count of an earlier run."""
        self._num_skipped = state["num_skipped"]

    def _report(self, seen: list[tuple[list[dict[str, Any]], dict[str, Tensor]]]) -> str:
        """Save the batches with such losses and describe them."""
        batches, losses = zip(*[part for part in seen if not all(v.isfinite() for v in part[1].values())], strict=True)
        values = [{name: float(value.detach()) for name, value in part.items()} for part in losses]
        lr = max(group["lr"] for group in self.trainer.optimizer.param_groups)
        folder = Path(self._output_dir, FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"iteration_{self.trainer.iter:07d}_process_{comm.get_rank()}.pth"
        torch.save({"iteration": self.trainer.iter, "losses": values, "lr": lr, "batches": list(batches)}, file)
        figures = ", ".join(f"{name} is {value:g}" for part in values for name, value in part.items())
        files = ", ".join(os.fspath(sample.get("file_name", "?")) for batch in batches for sample in batch)
        return f"{figures}; learning rate {lr:.3g}; images {files}; the batch is in {file}."

    def _keep_buffers(self, module: nn.Module) -> None:
        if module.training and self._num_skipped < self._max_skipped and not self._seen:
            self._buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]

    def _keep_losses(self, module: nn.Module, inputs: tuple[Any, ...], losses: Any) -> None:
        if module.training and isinstance(losses, dict):
            self._seen.append((inputs[0], losses))
