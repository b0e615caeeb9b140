"""Reading weights of every kind into a model, strictly. Importing this makes ``clip://`` a path."""

from icpc_d2.checkpoint.checkpointer import ICPCCheckpointer, WeightsCheckpointer

__all__ = ["ICPCCheckpointer", "WeightsCheckpointer"]
