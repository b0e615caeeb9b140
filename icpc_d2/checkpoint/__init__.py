"""Weights of every kind, read into a model strictly. Importing this makes ``clip://`` a path."""

from icpc_d2.checkpoint.checkpointer import ICPCCheckpointer, WeightsCheckpointer, load_text_encoder

__all__ = ["ICPCCheckpointer", "WeightsCheckpointer", "load_text_encoder"]
