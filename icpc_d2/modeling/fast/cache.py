"""Values that depend on weights alone, kept between calls."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class WeightCache(Generic[Value]):
    """Keeps the last value computed from some tensors, for as long as none of them is written to, moved or replaced.

    It works where no gradient is recorded only; elsewhere each call computes. Safe in threads: at worst two compute.
    Writing through ``tensor.data`` leaves no trace that could be seen: call :meth:`clear` then. Modules that hold a
    cache clear it whenever their mode is set.
    """

    def __init__(self) -> None:
        self._entry: tuple[tuple[Tensor, ...], Hashable, Value] | None = None

    def get(self, tensors: Sequence[Tensor], key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return ``compute()``, or what it returned when `tensors` and `key` were the same.

        Args:
            tensors: all that the value is computed from.
            key: whatever else it depends on.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return compute()
        # Inference tensors keep no version; they are never parameters of a module that is trained.
        states = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
        key = (key, states, numeric_state())
        entry = self._entry
        if entry is None or entry[1] != key or any(old is not new for old, new in zip(entry[0], tensors, strict=True)):
            entry = self._entry = (tuple(tensors), key, compute())
        return entry[2]

    def clear(self) -> None:
        """Forget the value."""
        self._entry = None

    def __deepcopy__(self, memo: dict) -> "WeightCache[Value]":
        return WeightCache()

    def __getstate__(self) -> dict:
        return {"_entry": None}


def numeric_state() -> Hashable:
    """Return the settings that decide, beside its inputs, which numbers a computation gives: autocast's, and TF32."""
    autocast = [torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in ("cuda", "cpu")]
    matmul = torch.backends.cuda.matmul
    # Since torch 2.9 the older name is an error where the newer one was set.
    tf32 = getattr(matmul, "fp32_precision", None) or matmul.allow_tf32
    return (*autocast, tf32)


def list_tensors(module: nn.Module) -> list[Tensor]:
    """List the parameters and buffers of a module and all below it, in a fifth of the time that its own methods take.

    An image waits for it: the text encoder alone has some 150.
    """
    tensors: list[Tensor | None] = []
    modules = [module]
    while modules:
        module = modules.pop()
        tensors += module._parameters.values()
        tensors += module._buffers.values()
        modules += filter(None, module._modules.values())
    return [tensor for tensor in tensors if tensor is not None]
