"""Training: from the command line's config to a trained model."""

from icpc_d2.engine.processes import launch
from icpc_d2.engine.setup import setup
from icpc_d2.engine.trainer import Trainer

__all__ = ["Trainer", "launch", "setup"]
