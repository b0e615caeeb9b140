"""Settle what depends on the machine and the number of processes: device, precision and normalization."""

import logging

import torch
from detectron2.config import CfgNode

from icpc_d2.config.load import leaves

logger = logging.getLogger(__name__)

PRECISIONS = ("float16", "bfloat16")


def resolve_device(cfg: CfgNode) -> None:
    """Fall back to the CPU, in place and with a notice, where the config asks for a GPU that is not there."""
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning(f"MODEL.DEVICE is '{cfg.MODEL.DEVICE}' but torch finds no GPU: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"


def resolve_precision(cfg: CfgNode) -> None:
    """Train in bfloat16, in place and with a notice, where mixed precision in float16 is asked for on a CPU.

    Raises:
        ValueError: ``SOLVER.AMP.PRECISION`` is unknown.
    """
    if cfg.SOLVER.AMP.PRECISION not in PRECISIONS:
        raise ValueError(f"SOLVER.AMP.PRECISION is {cfg.SOLVER.AMP.PRECISION!r}; it can be one of {PRECISIONS}.")
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.AMP.ENABLED and cfg.SOLVER.AMP.PRECISION == "float16":
        logger.warning("SOLVER.AMP.PRECISION 'float16' is for GPUs: training in bfloat16 on the CPU.")
        cfg.SOLVER.AMP.PRECISION = "bfloat16"


def resolve_norms(cfg: CfgNode, num_processes: int) -> None:
    """Replace each normalization "SyncBN", in place, by what the run can do.

    One process has nobody to synchronize with: "BN". torch's SyncBN refuses tensors on the CPU, where several
    processes use Detectron2's "naiveSyncBN".
    """
    if num_processes > 1 and cfg.MODEL.DEVICE != "cpu":
        return
    replacement = "BN" if num_processes == 1 else "naiveSyncBN"
    for key, value in list(leaves(cfg)):
        if key.endswith("NORM") and value == "SyncBN":
            logger.info(f"{key}: SyncBN -> {replacement} ({num_processes} process(es) on {cfg.MODEL.DEVICE}).")
            cfg.merge_from_list([key, replacement])
