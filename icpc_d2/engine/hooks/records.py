"""A training's reports of itself besides its losses and figures: what learns how fast and costs what, speed, memory.

Tables go into the log, scalars into Detectron2's EventStorage, and so into ``metrics.json`` and TensorBoard, and from
there to Weights & Biases, if it is asked for.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage
from tabulate import tabulate
from torch import nn

from icpc_d2.analysis.macs import build_on_meta, count_forward
from icpc_d2.analysis.memory import peak_memory
from icpc_d2.engine.solver import is_image_backbone

logger = logging.getLogger(__name__)

# Iterations between two records; Detectron2 writes its own as often.
PERIOD = 20


@dataclass(eq=False)
class ModelSummary(HookBase):
    """Logs the parameter groups, and the cost of a training image, when training starts."""

    cfg: CfgNode
    model: nn.Module  # not wrapped for several processes
    optimizer: torch.optim.Optimizer

    def before_train(self) -> None:
        """Log both tables."""
        groups = parameter_groups(self.model, self.optimizer)
        logger.info(f"Parameters and their highest learning rates:\n{groups_table(self.model, groups)}")
        crop, short_side = self.cfg.INPUT.CROP, self.cfg.INPUT.MIN_SIZE_TRAIN[0]
        height, width = crop.SIZE if crop.ENABLED else (short_side, short_side)
        macs = count_forward(build_on_meta(self.cfg), height, width)
        if macs:
            rows = [[part or "elsewhere", f"{count / 1e9:.3f}"] for part, count in macs.items() if count]
            rows.append(["total", f"{sum(macs.values()) / 1e9:.3f}"])
            table = tabulate(rows, ["part", "GMACs"], colalign=("left", "right"), disable_numparse=True)
            logger.info(f"Cost of the forward pass of one image of {height} x {width} pixels:\n{table}")


class Group(NamedTuple):
    """Parameters that the optimizer treats alike."""

    parts: str  # of the model that they belong to
    tensors: int
    numbers: int  # elements of all tensors
    learning_rate: float  # in this iteration
    highest_rate: float  # that the schedule reaches
    weight_decay: float


def parameter_groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Group]:
    """Describe the groups of an optimizer."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        found = {is_image_backbone(names[parameter]) for parameter in group["params"]}
        parts = "all parts" if len(found) > 1 else "image backbone" if True in found else "all other parts"
        numbers = sum(parameter.numel() for parameter in group["params"])
        highest = group.get("initial_lr", group["lr"])
        groups.append(Group(parts, len(group["params"]), numbers, group["lr"], highest, group["weight_decay"]))
    return groups


def groups_table(model: nn.Module, groups: list[Group]) -> str:
    """Format a row for each group, the largest first, and one for what is frozen."""
    rows = [
        [group.parts, group.tensors, f"{group.numbers:,}", f"{group.highest_rate:g}", f"{group.weight_decay:g}"]
        for group in sorted(groups, key=lambda group: -group.numbers)
    ]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    if frozen:
        rows.append(["frozen", len(frozen), f"{sum(parameter.numel() for parameter in frozen):,}", "-", "-"])
    headers = ["parameters", "tensors", "numbers", "learning rate", "weight decay"]
    return tabulate(rows, headers, colalign=("left", *["right"] * 4), disable_numparse=True)


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
    """Records learning rates, images per second, peak memory, and the mean of lambda (Eq. 4)."""

    model: nn.Module  # not wrapped for several processes
    optimizer: torch.optim.Optimizer
    batch_size: int  # images of an iteration, of all processes

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
