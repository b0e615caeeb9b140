"""Tensors and settings of PyTorch that the result of a computation depends on, beside its inputs."""

from collections.abc import Hashable

import torch
from torch import Tensor, nn


def numeric_state() -> Hashable:
    """Return the settings that decide, beside its inputs, which numbers a computation gives: autocast's, and TF32."""
    autocast = [torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in ("cuda", "cpu")]
    matmul = torch.backends.cuda.matmul
    # Since torch 2.9 the older name is an error where the newer one was set.
    tf32 = getattr(matmul, "fp32_precision", None) or matmul.allow_tf32
    return (*autocast, tf32)


def list_tensors(*parts: nn.Module | Tensor | None) -> list[Tensor]:
    """List the parameters and buffers of modules and of all below them, and tensors that are none.

    A module's own methods take five times as long, and an image waits: the text encoder alone has some 150.
    """
    tensors: list[Tensor | None] = [part for part in parts if isinstance(part, Tensor)]
    modules = [part for part in parts if isinstance(part, nn.Module)]
    while modules:
        module = modules.pop()
        tensors += module._parameters.values()
        tensors += module._buffers.values()
        modules += filter(None, module._modules.values())
    return [tensor for tensor in tensors if tensor is not None]
