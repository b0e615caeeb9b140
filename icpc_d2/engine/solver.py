"""Optimizer and learning rate of the paper's recipe, and how its batch is divided.

It is DenseCLIP's but for two things that are kept on purpose: no normalization layer decays, where DenseCLIP exempts
those of the context decoder alone; and the warm-up rises straight to the rate that the decay has reached when it ends,
where mmcv's multiplies the decay.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.solver import LRMultiplier, WarmupParamScheduler, get_default_optimizer_params
from detectron2.solver import build_lr_scheduler as build_detectron2_lr_scheduler
from detectron2.solver.build import maybe_add_gradient_clipping
from fvcore.common.param_scheduler import ParamScheduler, PolynomialDecayParamScheduler
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)

POLY = "WarmupPolyLR"


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer over the parameters that train.

    The image backbone learns at ``SOLVER.BACKBONE_MULTIPLIER`` times the base rate; normalization layers decay by
    ``SOLVER.WEIGHT_DECAY_NORM``. All else decays, as in DenseCLIP: biases, position embeddings, learned contexts and
    lambda too. Frozen parameters, which is the whole text encoder, are left out: nothing can move them.

    Raises:
        ValueError: ``SOLVER.OPTIMIZER`` is unknown.
    """
    params = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=backbone_lr_factor(cfg.SOLVER.BACKBONE_MULTIPLIER),
    )
    momentum = {"momentum": cfg.SOLVER.MOMENTUM, "nesterov": cfg.SOLVER.NESTEROV}
    optimizers = {"AdamW": (torch.optim.AdamW, {}), "SGD": (torch.optim.SGD, momentum)}
    if cfg.SOLVER.OPTIMIZER not in optimizers:
        raise ValueError(f"SOLVER.OPTIMIZER is '{cfg.SOLVER.OPTIMIZER}'; it can be 'AdamW' or 'SGD'.")
    optimizer, options = optimizers[cfg.SOLVER.OPTIMIZER]
    return maybe_add_gradient_clipping(cfg, optimizer)(params, lr=cfg.SOLVER.BASE_LR, **options)


def is_image_backbone(name: str) -> bool:
    """Tell whether a parameter belongs to the image backbone, with attention pool and pyramid, as in DenseCLIP.

    Detectron2 counts its FPN as backbone too; in the recipe it is the neck and learns at full rate.
    """
    return name.startswith("backbone.") and not name.startswith("backbone.fpn_")


def backbone_lr_factor(multiplier: float) -> Callable[[str], float]:
    """Return the function from a parameter's name to its factor on the learning rate."""
    return lambda name: multiplier if is_image_backbone(name) else 1.0


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Build "WarmupPolyLR" (linear warm-up, then poly decay to ``SOLVER.POLY_END_LR``) or one of Detectron2's own.

    Every parameter group ends at the same rate; one whose rate is lower, perhaps 0, keeps it.
    """
    if cfg.SOLVER.LR_SCHEDULER_NAME != POLY:
        return build_detectron2_lr_scheduler(cfg, optimizer)
    keys = cfg.SOLVER
    schedules = [
        poly_schedule(
            keys.MAX_ITER,
            group["lr"],
            keys.POLY_END_LR,
            keys.POLY_POWER,
            keys.WARMUP_ITERS,
            keys.WARMUP_FACTOR,
            keys.WARMUP_METHOD,
            keys.RESCALE_INTERVAL,
        )
        for group in optimizer.param_groups
    ]
    return GroupLRMultiplier(optimizer, schedules, keys.MAX_ITER)


def poly_schedule(
    max_iter: int,
    base_lr: float,
    end_lr: float,
    power: float,
    warmup_iters: int,
    warmup_factor: float,
    warmup_method: str = "linear",
    rescale_interval: bool = False,
) -> WarmupParamScheduler:
    """Return "WarmupPolyLR" as a multiplier of `base_lr` over the share of the training done.

    Args:
        end_lr: that the decay ends at, unless `base_lr`, perhaps 0, is lower: then it stays.
        warmup_iters, warmup_factor, warmup_method, rescale_interval: as Detectron2's keys in ``SOLVER``.
    """
    decay = PolySchedule(power, end_lr / base_lr if base_lr > end_lr else 1.0)
    warmup = min(warmup_iters / max_iter, 1.0)
    return WarmupParamScheduler(decay, warmup_factor, warmup, warmup_method, rescale_interval)


class GroupLRMultiplier(LRMultiplier):
    """Detectron2's scheduler with a multiplier for each parameter group."""

    def __init__(self, optimizer: torch.optim.Optimizer, multipliers: Sequence[ParamScheduler], max_iter: int) -> None:
        """
        Args:
            multipliers: of each group's own rate, by the share of the training that is done.
            max_iter: of the training.
        """
        self._multipliers = multipliers
        super().__init__(optimizer, multipliers[0], max_iter)

    def get_lr(self) -> list[float]:
        """Return the rates of the groups at this iteration."""
        where = self.last_epoch / self._max_iter
        return [rate * multiplier(where) for rate, multiplier in zip(self.base_lrs, self._multipliers, strict=True)]


class PolySchedule(PolynomialDecayParamScheduler):
    """The multiplier ``(1 - end_value) * (1 - where) ** power + end_value``, of the share `where` of training done."""

    def __init__(self, power: float, end_value: float) -> None:
        super().__init__(1.0 - end_value, power)
        self._end_value = end_value

    def __call__(self, where: float) -> float:
        """Return the multiplier at this share of the training."""
        # A run resumed with a smaller MAX_ITER asks beyond 1, where the power of a negative number is complex.
        return super().__call__(min(where, 1.0)) + self._end_value


def scale_to_processes(cfg: CfgNode, num_processes: int) -> CfgNode:
    """Keep the images per process of a config that was made for ``SOLVER.REFERENCE_WORLD_SIZE`` processes.

    As in Detectron2, batch and learning rate grow with the processes, and all counts of iterations shrink. Here the
    rate that the poly decay ends at grows too, and a notice says what has changed; `cfg` itself stays as it is.

    Raises:
        ValueError: ``SOLVER.IMS_PER_BATCH`` cannot be divided among the reference number of processes.
    """
    reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference in (0, num_processes):
        return cfg
    if reference < 0 or cfg.SOLVER.IMS_PER_BATCH % reference:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {cfg.SOLVER.IMS_PER_BATCH}; wanted a multiple of SOLVER.REFERENCE_WORLD_SIZE, "
            f"which is {reference}. 0 switches the scaling off."
        )
    scaled = DefaultTrainer.auto_scale_workers(cfg, num_processes)
    scaled.defrost()
    scaled.SOLVER.POLY_END_LR *= num_processes / reference
    if cfg.is_frozen():
        scaled.freeze()
    keys = ("IMS_PER_BATCH", "BASE_LR", "POLY_END_LR", "MAX_ITER", "WARMUP_ITERS", "CHECKPOINT_PERIOD")
    changes = ", ".join(f"{key} {cfg.SOLVER[key]:g} -> {scaled.SOLVER[key]:g}" for key in keys)
    logger.warning(
        f"SOLVER.REFERENCE_WORLD_SIZE is {reference}, and there are {num_processes} process(es): {changes}, "
        f"TEST.EVAL_PERIOD {cfg.TEST.EVAL_PERIOD} -> {scaled.TEST.EVAL_PERIOD}. SOLVER.ACCUMULATE {reference} in one "
        "process would keep the batch instead."
    )
    return scaled


def images_at_once(cfg: CfgNode, num_processes: int) -> int:
    """Return the images of one process in one forward pass of the training.

    Raises:
        ValueError: the batch cannot be divided.
    """
    batch_size, accumulate = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE
    if accumulate < 1 or batch_size < 1 or batch_size % (num_processes * accumulate):
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}; wanted a multiple of the number of processes, {num_processes}, "
            f"times SOLVER.ACCUMULATE, which is {accumulate} and must be 1 or more."
        )
    return batch_size // (num_processes * accumulate)
