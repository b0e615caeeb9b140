"""Detectron2's hooks where they fall short."""

import json
import os

from detectron2.engine import hooks
from detectron2.utils.file_io import PathManager


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, which also remembers the best figure across ``--resume``.

    It stands in ``model_best.json`` beside the weights. A checkpoint could not tell it: it is written before the
    evaluation of its iteration.
    """

    def before_train(self) -> None:
        """Read the figure of the run that is resumed."""
        if self.trainer.start_iter == 0 or not PathManager.isfile(self._path(".pth")):
            return
        if PathManager.isfile(self._path(".json")):
            with PathManager.open(self._path(".json"), "r") as file:
                best = json.load(file)
            if best["metric"] == self._val_metric:
                self.best_metric, self.best_iter = best["value"], best["iteration"]

    def _update_best(self, val: float, iteration: int) -> bool:
        updated = super()._update_best(val, iteration)
        if updated:
            with PathManager.open(self._path(".json"), "w") as file:
                json.dump({"metric": self._val_metric, "value": float(val), "iteration": iteration}, file)
        return updated

    def _path(self, ending: str) -> str:
        return os.path.join(self._checkpointer.save_dir, self._file_prefix + ending)
