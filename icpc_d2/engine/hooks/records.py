"""What a training tells while it runs besides losses and figures: the log's first page, rates, gradients, memory.

Scalars and pictures go into Detectron2's EventStorage, and so into ``metrics.json`` and TensorBoard, and from there to
Weights & Biases, if it is asked for.
"""

import logging
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase
from detectron2.utils.events import get_event_storage
from torch import nn

from icpc_d2.analysis.memory import peak_memory
from icpc_d2.engine.hooks.model_summary import cost_table, count_parts, groups_table, parameter_groups
from icpc_d2.engine.hooks.validation_images import ValidationPictures
from icpc_d2.engine.hooks.wandb import WandbRun

logger = logging.getLogger(__name__)

# Iterations between two records; Detectron2 writes its own as often.
PERIOD = 20


def add_monitors(cfg: CfgNode, trainer: DefaultTrainer, hooks: list[HookBase | None]) -> None:
    """Add the hooks of this file to those of the main process, in place; the last of these are Detectron2's writers.

    Args:
        trainer: it has a model, an optimizer and what runs a single iteration.
    """
    model, optimizer = trainer.checkpointer.model, trainer.optimizer
    crop = cfg.INPUT.CROP.SIZE if cfg.INPUT.CROP.ENABLED else [cfg.INPUT.MIN_SIZE_TRAIN[0]] * 2
    monitors: list[HookBase] = [FirstPage(model, optimizer, crop), Records(model, optimizer, cfg.SOLVER.IMS_PER_BATCH)]
    # Of a data set of other classes there is no picture that one palette could paint.
    if cfg.DATASETS.TEST and not cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES:
        monitors.append(ValidationPictures(cfg, model, cfg.DATASETS.TEST[0]))
    hooks[-1:-1] = monitors
    if cfg.WANDB.PROJECT:
        # Last: it ends when everything is written.
        hooks.append(WandbRun(cfg))
    # Only what runs the iteration knows when gradients are there.
    trainer._trainer.register_hooks([GradientNorm()])


class FirstPage(HookBase):
    """Logs the parameter groups, and the cost of a training image, when training starts."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, image_size: Sequence[int]) -> None:
        """
        Args:
            model: not wrapped for several processes.
            image_size: (height, width) of what the model is trained on.
        """
        self._model = model
        self._optimizer = optimizer
        self._image_size = tuple(image_size)

    def before_train(self) -> None:
        """Log."""
        groups = parameter_groups(self._model, self._optimizer)
        logger.info(f"Parameters and their highest learning rates:\n{groups_table(self._model, groups)}")
        macs = count_parts(self._model, *self._image_size)
        if macs:
            height, width = self._image_size
            logger.info(f"Cost of the forward pass of one image of {height} x {width} pixels:\n{cost_table(macs)}")


class GradientNorm(HookBase):
    """Records the L2 norm of all gradients, before any clipping; a hook of what runs a single iteration."""

    def after_backward(self) -> None:
        """Record."""
        if is_recorded(self.trainer.iter):
            gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
            norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
            get_event_storage().put_scalar("gradient_norm", torch.linalg.vector_norm(norms), smoothing_hint=False)


class Records(HookBase):
    """Records learning rates, images per second, peak memory, and the mean of lambda (Eq. 4)."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch_size: int) -> None:
        """
        Args:
            model: not wrapped for several processes.
            batch_size: images of an iteration, of all processes.
        """
        self._model = model
        self._optimizer = optimizer
        self._batch_size = batch_size
        self._device = next(model.parameters()).device

    def after_step(self) -> None:
        """Record."""
        if not is_recorded(self.trainer.iter):
            return
        storage = self.trainer.storage
        scalars = {"peak_memory_mb": peak_memory(self._device)}
        for group in parameter_groups(self._model, self._optimizer):
            scalars[f"lr_of/{group.parts.replace(' ', '_')}"] = group.learning_rate
        # By the timer that ran first: other hooks may have evaluated since.
        seconds, iteration = storage.latest().get("time", (0.0, -1))
        if iteration == storage.iter and seconds > 0:
            scalars["images_per_second"] = self._batch_size / seconds
        if hasattr(self._model, "context_decoder"):
            scalars["lambda_mean"] = float(self._model.context_decoder.scale.detach().mean())
        storage.put_scalars(**scalars, smoothing_hint=False)


def is_recorded(iteration: int) -> bool:
    """Whether something is recorded in this iteration, just before Detectron2 writes."""
    return (iteration + 1) % PERIOD == 0
