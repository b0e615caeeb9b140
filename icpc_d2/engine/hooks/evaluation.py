"""Evaluation and best checkpoint across ``--resume``, where Detectron2's hooks fall short."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.engine import HookBase, hooks

from icpc_d2.files import atomically

logger = logging.getLogger(__name__)


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, which also remembers the best figure across ``--resume``.

    It stands in ``model_best.json`` beside the weights. A checkpoint could not tell it: it is written before the
    evaluation of its iteration.
    """

    def before_train(self) -> None:
        """Read the figure of the run that is resumed."""
        if self.trainer.start_iter == 0 or not self._path(".pth").is_file():
            return
        try:
            best = json.loads(self._path(".json").read_text())
        except (OSError, ValueError):
            return
        if best["metric"] == self._val_metric:
            self.best_metric, self.best_iter = best["value"], best["iteration"]

    def _best_checking(self) -> None:
        before = self.best_iter
        super()._best_checking()
        if self.best_metric is None:
            value, _ = self.trainer.storage.latest().get(self._val_metric, (None, 0))
            logger.warning(f"{self._val_metric} is {value}: there is no best checkpoint yet. See SOLVER.BEST_METRIC.")
        # After the weights: a run that is killed in between evaluates again, and must not find that nothing is better.
        if self.best_iter != before:
            best = {"metric": self._val_metric, "value": float(self.best_metric), "iteration": self.best_iter}
            with atomically(self._path(".json"), durable=True) as temporary:
                temporary.write_text(json.dumps(best))

    def _path(self, ending: str) -> Path:
        return Path(self._checkpointer.save_dir, self._file_prefix + ending)


@dataclass(eq=False)
class CaughtUpEvaluation(HookBase):
    """Runs, on resume, the evaluation that was due after the last checkpoint."""

    period: int  # iterations between evaluations; 0: none but the last
    evaluation: Sequence[HookBase]  # evaluate after a step

    def before_train(self) -> None:
        """Evaluate what a run that ended in between may have left out; if it did not, the result is the same again."""
        trainer, start = self.trainer, self.trainer.start_iter
        if self.period > 0 and 0 < start < trainer.max_iter and start % self.period == 0:
            trainer.iter = trainer.storage.iter = start - 1
            for hook in self.evaluation:
                hook.after_step()
            trainer.iter = trainer.storage.iter = start
