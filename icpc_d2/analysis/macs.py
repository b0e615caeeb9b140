"""Multiply-adds of a computation, by part, without computing anything.

PyTorch's counter sees the operators as they are called, on tensors of the "meta" device that have a shape and nothing
else. So a thousand classes at a thousand pixels cost a second, and a backward pass can be counted too. The conventions
are those of fvcore's `FlopCountAnalysis`, which needs every tensor in memory: a multiply-add counts as one,
normalization and interpolation by estimates; and the products inside of attention, which fvcore leaves out, count too.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

aten = torch.ops.aten


def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *args: Any, **kwargs: Any) -> int:
    """Count five multiply-adds for statistics, normalization and the affine map; two where the statistics are known."""
    return 2 * (5 if training else 2) * prod(x)


def _norm(x: Any, *args: Any, **kwargs: Any) -> int:
    return 2 * 5 * prod(x)


# What PyTorch's counter leaves out. It counts FLOPs, two for each multiply-add, by the shapes of arguments and result.
FORMULAS = {
    aten.native_batch_norm: _batch_norm,
    aten.native_layer_norm: _norm,
    aten.native_group_norm: _norm,
    aten.upsample_bilinear2d: lambda *args, out_shape, **kwargs: 2 * 4 * prod(out_shape),
    aten.upsample_nearest2d: lambda *args, out_shape, **kwargs: 2 * prod(out_shape),
}
# The counter looks formulas up by the operator, but takes apart what it does not find by the overload.
FORMULAS |= {operator.default: formula for operator, formula in FORMULAS.items()}


class PartTracker:
    """Tells PyTorch's counter which part runs: the innermost one, and "" outside of all and in backward passes.

    The counter's own tracker knows modules by their class, counts for all around them too, and puts hooks on gradients
    that `torch.autograd.grad` does not take.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        """Prepare to count by `parts`, see :func:`count_macs`."""
        self._names = {module: name for name, part in parts.items() for module in part.modules()}
        self._running = [""]
        self._hooks: list[RemovableHandle] = []

    @property
    def parents(self) -> set[str]:
        """The name that operators are counted under now."""
        return {self._running[-1]}

    def __enter__(self) -> None:
        self._hooks += [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._running.append(self._names.get(module, self._running[-1]))

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop()


def count_macs(compute: Callable[[], Any], parts: Mapping[str, nn.Module] | None = None) -> Counter[str]:
    """Run `compute` once and count its multiply-adds by part, "" for what runs in none and for backward passes.

    Args:
        parts: modules by the name that they, and all modules inside of them, are counted under wherever they run; where
            one part is inside of another, the outer one comes first.
    """
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    counter.mod_tracker = PartTracker(parts or {})
    # One form of attention, whose two products are seen as such.
    with counter, sdpa_kernel(SDPBackend.MATH):
        compute()
    return Counter({name: sum(flops.values()) // 2 for name, flops in counter.get_flop_counts().items()})


def count_forward(
    model: nn.Module, height: int, width: int, parts: Mapping[str, nn.Module] | None = None
) -> Counter[str]:
    """Count the multiply-adds of a model from one image to its logits; with gradients on, those of a training.

    Args:
        model: on the meta device, in eval mode.
        height, width: of the image in pixels, which is padded as the model pads.
        parts: as for :func:`count_macs`; None: the model's children.

    Returns:
        By part; empty for a model that has neither ``predict`` nor a backbone and a ``sem_seg_head``.
    """
    image = meta_image(model, height, width)
    parts = dict(model.named_children()) if parts is None else parts
    if hasattr(model, "predict"):
        return count_macs(lambda: model.predict(image), parts)
    if hasattr(model, "backbone") and hasattr(model, "sem_seg_head"):
        return count_macs(lambda: model.sem_seg_head(model.backbone(image), None), parts)
    return Counter()


def build_on_meta(cfg: CfgNode) -> nn.Module:
    """Build the model of a config with shapes alone, on the meta device, in eval mode."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg).eval()


def meta_image(model: nn.Module, height: int, width: int) -> Tensor:
    """Return a normalized image without content, (1, 3, H, W), padded as the model pads."""
    backbone = getattr(model, "backbone", None)
    divisor = max(1, getattr(model, "divisor", getattr(backbone, "size_divisibility", 1)))
    return torch.empty(1, 3, height + -height % divisor, width + -width % divisor, device="meta")
