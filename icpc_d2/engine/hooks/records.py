"""Scalars of a training besides its losses and figures: learning rates, speed, gradients, memory.

They go into Detectron2's EventStorage, and so into ``metrics.json`` and TensorBoard, and from there to Weights &
Biases, if it is asked for.
"""

from dataclasses import dataclass

import torch
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage
from torch import nn

from icpc_d2.analysis.memory import peak_memory
from icpc_d2.engine.hooks.model_summary import parameter_groups

# Iterations between two records; Detectron2 writes its own as often.
PERIOD = 20


class GradientNorm(HookBase):
    """Records the L2 norm of all gradients, before any clipping; a hook of what runs a single iteration."""

    def after_backward(self) -> None:
        """Compute and store the norm."""
        if is_recorded(self.trainer.iter):
            gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
            norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
            get_event_storage().put_scalar("gradient_norm", torch.linalg.vector_norm(norms), smoothing_hint=False)


@dataclass(eq=False)
class Records(HookBase):
    """Records learning rates, images per second, peak memory, and the mean of lambda (Eq. 4).

    Attributes:
        model: not wrapped for several processes.
        batch_size: images of an iteration, of all processes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch_size: int

    def after_step(self) -> None:
        """Store the scalars of this iteration."""
        if not is_recorded(self.trainer.iter):
            return
        storage = self.trainer.storage
        scalars = {"peak_memory_mb": peak_memory(next(self.model.parameters()).device)}
        for group in parameter_groups(self.model, self.optimizer):
            scalars[f"lr_of/{group.parts.replace(' ', '_')}"] = group.learning_rate
        # By the timer that ran first: other hooks may have evaluated since.
        seconds, iteration = storage.latest().get("time", (0.0, -1))
        if iteration == storage.iter and seconds > 0:
            scalars["images_per_second"] = self.batch_size / seconds
        if hasattr(self.model, "context_decoder"):
            scalars["lambda_mean"] = float(self.model.context_decoder.scale.detach().mean())
        storage.put_scalars(**scalars, smoothing_hint=False)


def is_recorded(iteration: int) -> bool:
    """Tell whether something is recorded in this iteration, just before Detectron2 writes."""
    return (iteration + 1) % PERIOD == 0
