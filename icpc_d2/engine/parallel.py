"""A built model made fast and parallel: memory layout, compiled parts, several processes."""

import torch
from detectron2.config import CfgNode
from detectron2.engine import create_ddp_model
from detectron2.utils import comm
from torch import nn


def prepare(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Apply ``MODEL.CHANNELS_LAST`` and ``MODEL.COMPILE``, in place.

    Raises:
        ValueError: the model has no part of this name.
    """
    if cfg.MODEL.CHANNELS_LAST:
        # Of the weights alone: convolutions then give their maps the same layout.
        model.to(memory_format=torch.channels_last)
    parts = dict(model.named_children())
    for name in cfg.MODEL.COMPILE:
        if name not in parts:
            raise ValueError(f"MODEL.COMPILE has {name!r}, which is no part of the model; there are {sorted(parts)}.")
        parts[name].compile()
    return model


def distribute(model: nn.Module) -> nn.Module:
    """Wrap the model for several processes, on GPUs or on the CPU; one process gets it back unchanged.

    Unused parameters need not be searched for: every one that trains gets a gradient in every step.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    device_ids = None if on_cpu else [torch.cuda.current_device()]
    return create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)


def share_buffers(model: nn.Module) -> None:
    """Give all processes the main one's buffers, which are those of the checkpoints.

    BatchNorm's running statistics differ between processes, and would give other figures than the saved model does.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
