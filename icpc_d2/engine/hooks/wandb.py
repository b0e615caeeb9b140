"""A training as a run of Weights & Biases, through its own library."""

import os

import yaml
from detectron2.config import CfgNode
from detectron2.engine import HookBase


class WandbRun(HookBase):
    """Starts a run that takes over all that TensorBoard gets, with the config; ends it with the training.

    Key, address and mode are the library's own business: ``wandb login``, WANDB_MODE=offline, ...

    Raises:
        ImportError: the library is not installed; says how to.
    """

    def __init__(self, cfg: CfgNode) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "WANDB.PROJECT is set, which needs Weights & Biases' library: python -m pip install wandb. "
                "TensorBoard shows the same without it."
            ) from error
        self._wandb, self._cfg, self._run = wandb, cfg, None

    def before_train(self) -> None:
        """Start the run, before TensorBoard's writer is opened."""
        self._run = self._wandb.init(
            project=self._cfg.WANDB.PROJECT,
            name=os.path.basename(os.path.normpath(self._cfg.OUTPUT_DIR)),
            dir=self._cfg.OUTPUT_DIR,
            config=yaml.safe_load(self._cfg.dump()),
            sync_tensorboard=True,
        )

    def after_train(self) -> None:
        """End the run."""
        if self._run is not None:
            self._run.finish()
