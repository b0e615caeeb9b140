"""A built model made fast and parallel: memory layout, compiled parts, several processes."""

import torch
from detectron2.config import CfgNode
from detectron2.engine import create_ddp_model
from detectron2.utils import comm
from torch import nn

from icpc_d2.modeling.segmentor import Segmentor

PREDICT = "predict"
# Parts that are no graph, and why.
NOT_COMPILED = {
    "class_tokens": "it holds numbers and computes nothing",
    "alignment_loss": "how many points it draws depends on the labels, and its pixel losses are computed by strips",
}


def prepare(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Apply ``MODEL.CHANNELS_LAST`` and ``MODEL.COMPILE``, in place.

    Where all images have one size, each part is one graph: what torch.compile cannot take as a whole is an error when
    it first runs. Where sizes vary, torch gives a part up that it would have to compile for more than a few of them.

    Raises:
        ValueError: ``MODEL.COMPILE`` names what the model does not have, or what cannot be compiled.
    """
    if cfg.MODEL.CHANNELS_LAST:
        # Of the weights alone: convolutions then give their maps the same layout.
        model.to(memory_format=torch.channels_last)
    one_size = cfg.INPUT.CROP.ENABLED and cfg.TEST.SLIDING_WINDOW.ENABLED and not cfg.TEST.AUG.ENABLED
    parts = {name: part for name, part in model.named_children() if name not in NOT_COMPILED}
    for name in cfg.MODEL.COMPILE:
        if name in NOT_COMPILED:
            raise ValueError(f"MODEL.COMPILE has {name!r}, which is not compiled: {NOT_COMPILED[name]}.")
        if name == PREDICT:
            _compile_prediction(cfg, model)
        elif name in parts:
            parts[name].compile(fullgraph=one_size)
        else:
            known = [*sorted(parts), PREDICT]
            raise ValueError(f"MODEL.COMPILE has {name!r}, which is no part of the model; there are {known}.")
    return model


def _compile_prediction(cfg: CfgNode, model: nn.Module) -> None:
    """Compile what leads from images to logits in evaluations, for CUDA graphs: those of one size."""
    window = cfg.TEST.SLIDING_WINDOW
    if not isinstance(model, Segmentor):
        raise ValueError(
            f"MODEL.COMPILE has {PREDICT!r}, which {type(model).__name__} cannot: it needs MODEL.META_ARCHITECTURE "
            "'ICPC' or 'SemanticFPN'."
        )
    if not window.ENABLED:
        raise ValueError(
            f"MODEL.COMPILE has {PREDICT!r}, which needs images of one size, but TEST.SLIDING_WINDOW.ENABLED is False, "
            f"so that each image has its own. Enable it, or leave {PREDICT!r} out."
        )
    divisor = model.divisor
    size = -(-window.SIZE // divisor) * divisor
    model.compile_prediction(size, fullgraph=True, mode="reduce-overhead")


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
