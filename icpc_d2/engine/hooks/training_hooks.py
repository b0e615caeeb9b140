"""The hooks of a training, each list in the order in which they act."""

from collections.abc import Iterable

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, hooks
from detectron2.utils import comm
from torch import nn

from icpc_d2.checkpoint import WeightsCheckpointer
from icpc_d2.engine.hooks.checkpointing import Checkpoints
from icpc_d2.engine.hooks.evaluation import BestCheckpointer, CaughtUpEvaluation
from icpc_d2.engine.hooks.non_finite import NonFiniteLosses
from icpc_d2.engine.hooks.records import GradientNorm, ModelSummary, Records
from icpc_d2.engine.hooks.seeding import SeedEachIteration
from icpc_d2.engine.hooks.stopping import StopOnSignal
from icpc_d2.engine.hooks.validation_images import ValidationImages
from icpc_d2.engine.hooks.wandb import WandbRun


def build_hooks(
    cfg: CfgNode, trainer: DefaultTrainer, default_hooks: Iterable[HookBase | None], stop: StopOnSignal
) -> list[HookBase | None]:
    """Build the hooks of a training, None for unwanted ones; what only tells about it acts in the main process alone.

    Args:
        trainer: it has a checkpointer and what runs a single iteration.
        default_hooks: Detectron2's for this trainer, of which all but the one that saves are used.
        stop: what the trainer's batches listen to.
    """
    default = {type(hook): hook for hook in default_hooks}
    model = trainer.checkpointer.model  # not wrapped for several processes
    evaluation = [default[hooks.EvalHook], *_best_checkpointers(cfg, model)]
    solver = cfg.SOLVER
    of_every_process = [
        SeedEachIteration(cfg.SEED) if cfg.SEED >= 0 else None,
        default[hooks.IterationTimer],
        default[hooks.LRScheduler],
        default.get(hooks.PreciseBN),
        Checkpoints(trainer.checkpointer, trainer.model, solver.CHECKPOINT_PERIOD, solver.CHECKPOINTS_KEPT),
        # Signals are handed back when the training has saved itself, before the last evaluation.
        stop,
        *evaluation,
        CaughtUpEvaluation(cfg.TEST.EVAL_PERIOD, evaluation),
    ]
    if not comm.is_main_process():
        return of_every_process
    # Of a data set of other classes there is no image that one palette could paint.
    has_images = cfg.DATASETS.TEST and not cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES
    return [
        *of_every_process,
        ModelSummary(cfg, model, trainer.optimizer),
        Records(model, trainer.optimizer, solver.IMS_PER_BATCH),
        ValidationImages(cfg, model, cfg.DATASETS.TEST[0]) if has_images else None,
        default[hooks.PeriodicWriter],
        # Last: it ends when everything is written.
        WandbRun(cfg) if cfg.WANDB.PROJECT else None,
    ]


def build_step_hooks(cfg: CfgNode, model: nn.Module) -> list[HookBase | None]:
    """Build the hooks of a single step, which alone knows when the gradients of its `model` are there."""
    losses = NonFiniteLosses(model, cfg.OUTPUT_DIR, cfg.SOLVER.SKIP_NON_FINITE)
    return [losses, GradientNorm() if comm.is_main_process() else None]


def _best_checkpointers(cfg: CfgNode, model: nn.Module) -> list[HookBase]:
    """Build the hook that keeps the best weights, in the main process, if one is wanted."""
    metric = cfg.SOLVER.BEST_METRIC
    if not (comm.is_main_process() and metric and cfg.DATASETS.TEST):
        return []
    if len(cfg.DATASETS.TEST) > 1:
        # Detectron2 puts the data set's name first when there are several; the first one decides.
        metric = f"{cfg.DATASETS.TEST[0]}/{metric}"
    checkpointer = WeightsCheckpointer(model, cfg.OUTPUT_DIR, class_names=cfg.MODEL.CLASS_NAMES)
    mode = "min" if metric.endswith("/loss") else "max"
    return [BestCheckpointer(cfg.TEST.EVAL_PERIOD, checkpointer, metric, mode)]
