"""The first page of a training's log: which parameters learn how fast, and what an image costs."""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import nn

from icpc_d2.analysis.macs import count_macs, meta_image
from icpc_d2.engine.solver import is_image_backbone

BACKBONE, OTHERS, ALL = "image backbone", "all other parts", "all parts"


class Group(NamedTuple):
    """Parameters that the optimizer treats alike.

    Attributes:
        parts: which parts of the model they are of.
        tensors: how many there are.
        numbers: how many numbers they have in all.
        learning_rate: of now.
        highest_rate: that the schedule reaches.
    """

    parts: str
    tensors: int
    numbers: int
    learning_rate: float
    highest_rate: float
    weight_decay: float


def parameter_groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Group]:
    """Describe the groups of an optimizer."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        found = {is_image_backbone(names[parameter]) for parameter in group["params"]}
        parts = ALL if len(found) > 1 else BACKBONE if found == {True} else OTHERS
        numbers = sum(parameter.numel() for parameter in group["params"])
        highest = group.get("initial_lr", group["lr"])
        groups.append(Group(parts, len(group["params"]), numbers, group["lr"], highest, group["weight_decay"]))
    return groups


def groups_table(model: nn.Module, groups: list[Group]) -> str:
    """A row for each group, the largest first, and one for what is frozen."""
    rows = [
        [group.parts, group.tensors, f"{group.numbers:,}", f"{group.highest_rate:g}", f"{group.weight_decay:g}"]
        for group in sorted(groups, key=lambda group: -group.numbers)
    ]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    if frozen:
        rows.append(["frozen", len(frozen), f"{sum(parameter.numel() for parameter in frozen):,}", "-", "-"])
    headers = ["parameters", "tensors", "numbers", "learning rate", "weight decay"]
    align = ("left", "right", "right", "right", "right")
    return tabulate(rows, headers, colalign=align, disable_numparse=True)


def count_parts(model: nn.Module, height: int, width: int) -> Counter[str]:
    """Multiply-adds of the forward pass of one training image, by part of the model; nothing is computed.

    Returns:
        Empty for a model that has neither ``predict`` nor a backbone and a ``sem_seg_head``.
    """
    model = meta_copy(model).eval()
    divisor = max(1, getattr(getattr(model, "backbone", None), "size_divisibility", 1))
    image = meta_image(height + -height % divisor, width + -width % divisor)
    parts = dict(model.named_children())
    if hasattr(model, "predict"):
        return count_macs(lambda: model.predict(image), parts)
    if {"backbone", "sem_seg_head"} <= parts.keys():
        return count_macs(lambda: model.sem_seg_head(model.backbone(image), None), parts)
    return Counter()


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes and nothing else."""
    tensors = [*model.parameters(), *model.buffers()]
    # What the copy would clone is told beforehand to be cloned already.
    memo = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(memo[id(parameter)], parameter.requires_grad)
    return copy.deepcopy(model, memo)


def cost_table(macs: Mapping[str, int]) -> str:
    """A row for each part that costs something, in GMACs, and their sum."""
    rows = [[name or "elsewhere", f"{count / 1e9:.3f}"] for name, count in macs.items() if count]
    rows.append(["total", f"{sum(macs.values()) / 1e9:.3f}"])
    return tabulate(rows, ["part", "GMACs"], colalign=("left", "right"), disable_numparse=True)
