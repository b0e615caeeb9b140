"""What makes a training survive: its own checkpoints, signals, seeds, and the losses' watch."""

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, hooks

from icpc_d2.engine.hooks.checkpointing import Checkpoints
from icpc_d2.engine.hooks.evaluation import CaughtUpEvaluation
from icpc_d2.engine.hooks.non_finite import NonFiniteLosses
from icpc_d2.engine.hooks.seeding import SeedEachIteration
from icpc_d2.engine.hooks.stopping import StopOnSignal


def add_guards(cfg: CfgNode, trainer: DefaultTrainer, stop: StopOnSignal, found: list[HookBase | None]) -> None:
    """Add the hooks to those of a trainer, in place, and replace Detectron2's that saves.

    Args:
        trainer: it has a checkpointer and what runs a single iteration.
        stop: what the trainer's batches listen to.
        found: Detectron2's hooks, with evaluation and whatever looks at its figures in a row.
    """
    step = trainer._trainer
    step.register_hooks([NonFiniteLosses(step.model, cfg.OUTPUT_DIR, cfg.SOLVER.SKIP_NON_FINITE)])
    kinds = (hooks.EvalHook, hooks.BestCheckpointer)
    evaluation = [hook for hook in found if isinstance(hook, kinds)]
    others = [
        hook for hook in found if not isinstance(hook, (*kinds, hooks.PeriodicCheckpointer, hooks.PeriodicWriter))
    ]
    writers = [hook for hook in found if isinstance(hook, hooks.PeriodicWriter)]
    seeds = [SeedEachIteration(cfg.SEED)] if cfg.SEED >= 0 else []
    checkpoints = Checkpoints(
        trainer.checkpointer, step.model, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.CHECKPOINTS_KEPT
    )
    # Signals are handed back when the training has saved itself, before the last evaluation.
    guards = [checkpoints, stop, *evaluation, CaughtUpEvaluation(cfg.TEST.EVAL_PERIOD, evaluation)]
    found[:] = [*seeds, *others, *guards, *writers]
