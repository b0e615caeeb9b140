"""Values that depend on weights alone, kept between calls."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from icpc_d2.modeling.fast.dependencies import numeric_state

Value = TypeVar("Value")


class WeightCache(Generic[Value]):
    """Keeps the last value computed from some tensors, for as long as none of them is written to, moved or replaced.

    It works where no gradient is recorded only; elsewhere each call computes. Safe in threads: at worst two compute.
    Writing through ``tensor.data`` leaves no trace: call :meth:`clear` then, as modules do whenever their mode is set.
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
