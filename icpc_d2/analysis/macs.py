"""Multiply-adds of a computation, by part, without computing anything.

What is counted is what fvcore's `FlopCountAnalysis` counts: a multiply-add as one, normalization and interpolation by
fvcore's estimates; and also the products inside of attention, which fvcore leaves out. fvcore traces, which needs every
tensor in memory; here the operators are counted as they are called, on tensors of the "meta" device that have a shape
and nothing else. So a thousand classes at a thousand pixels cost a second, and a backward pass can be counted too.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

Formula = Callable[[tuple[Any, ...], Any], int]  # of an operator's arguments and result


def _product(operator: Any) -> Formula:
    """PyTorch's own formula of a matrix product or convolution, which counts a multiply-add as two."""
    formula = flop_registry[operator]
    return lambda args, out: formula(*args, out_val=out) // 2


FORMULAS: dict[Any, Formula] = {
    **{
        operator: _product(operator)
        for operator in (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution, aten.convolution_backward)
    },
    # Five for statistics, normalization and the affine map; two where the statistics are known.
    aten.native_batch_norm: lambda args, out: args[0].numel() * (5 if args[5] else 2),
    aten.native_layer_norm: lambda args, out: args[0].numel() * 5,
    aten.native_group_norm: lambda args, out: args[0].numel() * 5,
    aten.upsample_bilinear2d: lambda args, out: out.numel() * 4,
    aten.upsample_nearest2d: lambda args, out: out.numel(),
}


class MacCounter(TorchDispatchMode):
    """Counts the multiply-adds of what runs inside of it.

    Attributes:
        macs: by name of the part that ran, "" for what ran in none and for backward passes.
    """

    def __init__(self, parts: Mapping[str, nn.Module] | None = None) -> None:
        """
        Args:
            parts: modules by the name that they, and all modules inside of them, are counted under; where one part is
                inside of another, the outer one comes first.
        """
        super().__init__()
        self.macs: Counter[str] = Counter()
        self._names = {module: name for name, part in (parts or {}).items() for module in part.modules()}
        self._running: list[str] = []
        self._hooks: list[Any] = []
        # One form of attention, whose two products are seen as such.
        self._attention = sdpa_kernel(SDPBackend.MATH)

    def __enter__(self) -> "MacCounter":
        for module, name in self._names.items():
            self._hooks.append(module.register_forward_pre_hook(lambda *_, name=name: self._running.append(name)))
            self._hooks.append(module.register_forward_hook(lambda *_: self._leave()))
        self._attention.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._running.clear()

    def _leave(self) -> None:
        self._running.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = FORMULAS.get(func.overloadpacket)
        if formula is not None:
            self.macs[self._running[-1] if self._running else ""] += formula(args, out)
        return out


def count_macs(compute: Callable[[], Any], parts: Mapping[str, nn.Module] | None = None) -> Counter[str]:
    """Run `compute` once and return its multiply-adds by part; see :class:`MacCounter`."""
    with MacCounter(parts) as counter:
        compute()
    return counter.macs


def meta_image(height: int, width: int) -> Tensor:
    """A normalized image without content, (1, 3, height, width)."""
    return torch.empty(1, 3, height, width, device="meta")
