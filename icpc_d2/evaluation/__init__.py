"""Measuring a model: per-class IoU, pixel accuracy, and images of its predictions."""

from icpc_d2.evaluation.evaluators import build_evaluator
from icpc_d2.evaluation.results import results_table, write_results
from icpc_d2.evaluation.sem_seg import SemSegEvaluator

__all__ = ["SemSegEvaluator", "build_evaluator", "results_table", "write_results"]
