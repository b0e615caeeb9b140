"""Operators that a computation calls, and values that it reads back: what costs a GPU time beside the arithmetic.

Both are counted on the CPU, since a model calls the same operators on either device. Each operator is a kernel or a few
on a GPU; each value read back makes the program wait until the GPU has done all that was asked of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Results whose size depends on values; and those of single values, by which Python goes on.
_ITEM = "_local_scalar_dense"
READ_BACKS = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal", _ITEM}
TRANSFERS = (Tensor.cpu, Tensor.tolist, Tensor.numpy)
# Make tensors of Python's numbers, on the host unless they are told a device.
FROM_NUMBERS = (torch.tensor, torch.as_tensor)


class OperatorCounter:
    """Counts what is called inside of a ``with`` block, backward passes included.

    Attributes:
        operators: calls by name; views and allocations, which start nothing on a GPU, are left out.
        read_backs: waits by name.
    """

    def __init__(self, on_host: Iterable[Tensor] = ()) -> None:
        """
        Args:
            on_host: tensors that would lie in the memory of the host beside a GPU; reading them is free.
        """
        self.operators: Counter[str] = Counter()
        self.read_backs: Counter[str] = Counter()
        # Kept, so that no other tensor takes their place in memory.
        self._on_host: dict[int, Tensor] = {}
        self._keep_on_host(on_host)
        self._modes = (_Dispatched(self._count), _Transfers(self._transfer, self._keep_on_host))

    def __enter__(self) -> "OperatorCounter":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)

    def _count(self, operator: Any, args: tuple[Any, ...], result: Any) -> None:
        name = operator.overloadpacket.__name__
        tensors = [value for value in tree_leaves(args) if isinstance(value, Tensor)]
        if tensors and all(_address(tensor) in self._on_host for tensor in tensors):
            # So is what comes of it, and no GPU has to do with it.
            self._keep_on_host(result)
            return
        if name in READ_BACKS or (name.startswith("index") and _has_mask(args)):
            self.read_backs[name] += 1
        if name != _ITEM and not (operator.is_view or name == "_unsafe_view" or "empty" in name):
            self.operators[name] += 1

    def _transfer(self, tensor: Tensor, name: str) -> Tensor:
        """Return the tensor as it would lie on the host."""
        if _address(tensor) in self._on_host:
            return tensor
        self.read_backs[name] += 1
        copy = tensor.clone()
        self._keep_on_host(copy)
        return copy

    def _keep_on_host(self, tensors: Any) -> None:
        found = [tensor for tensor in tree_leaves(tensors) if isinstance(tensor, Tensor) and tensor.numel()]
        self._on_host |= {_address(tensor): tensor for tensor in found}


class _Dispatched(TorchDispatchMode):
    """Tells of each operator, after all that is composed of others has been taken apart."""

    def __init__(self, tell: Callable[[Any, tuple[Any, ...], Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        self._tell(operator, args, result)
        return result


class _Transfers(TorchFunctionMode):
    """Sees the tensors that are made on the host or brought there, which calls no operator where there is no GPU."""

    def __init__(self, transfer: Callable[[Tensor, str], Tensor], keep_on_host: Callable[[Any], None]) -> None:
        super().__init__()
        self._transfer, self._keep_on_host = transfer, keep_on_host

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in TRANSFERS:
            args = (self._transfer(args[0], function.__name__), *args[1:])
        result = function(*args, **(kwargs or {}))
        if function in FROM_NUMBERS and not isinstance(args[0], Tensor) and (kwargs or {}).get("device") is None:
            self._keep_on_host(result)
        return result


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _has_mask(args: tuple[Any, ...]) -> bool:
    """Return whether an indexing operator is given a mask, whose number of places has to be known first."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
