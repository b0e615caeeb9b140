"""Detectron2's hooks where they fall short."""

from typing import Any

from detectron2.engine import hooks


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, which also remembers the best figure across ``--resume``."""

    def state_dict(self) -> dict[str, Any]:
        """The best figure and its iteration, for the checkpoint; empty before the first evaluation."""
        if self.best_metric is None:
            return {}
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.best_metric = state_dict["best_metric"]
        self.best_iter = state_dict["best_iter"]
