"""Stages of an image encoder that do not train: ``MODEL.BACKBONE.FREEZE_AT``, as Detectron2's ResNets know it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

NUM_STAGES = 5  # the stem, then what gives res2, res3, res4, res5


def freeze_stages(encoder: nn.Module, stages: Sequence[Sequence[str]], freeze_at: int) -> None:
    """Freeze the first stages of an encoder, in place: their weights, and the statistics of their BatchNorm.

    Args:
        stages: of each stage the names of its modules and parameters, the stem first.
        freeze_at: 0: none; 1: the stem; 2: the stem and what gives res2; ...; 5: all up to res5.

    Raises:
        ValueError: for another `freeze_at`.
    """
    check_freeze_at(freeze_at)
    for name in (name for stage in stages[:freeze_at] for name in stage):
        parent, _, last = name.rpartition(".")
        owner = encoder.get_submodule(parent)
        part = getattr(owner, last)
        part.requires_grad_(False)
        if isinstance(part, nn.Module):
            # Detectron2's FrozenBatchNorm2d has the same names in a checkpoint.
            setattr(owner, last, FrozenBatchNorm2d.convert_frozen_batchnorm(part))


def vit_stages(blocks: Sequence[int]) -> list[list[str]]:
    """Name the stages of open_clip's vision transformers.

    The stem is what makes tokens of the image. The stage of a map is the blocks up to the one that it is made from.

    Args:
        blocks: the blocks (0-based) that res2..res5 are made from.
    """
    ends = [0, *(max(blocks[: count + 1]) + 1 for count in range(len(blocks)))]
    of_maps = [[f"transformer.resblocks.{index}" for index in range(start, end)] for start, end in pairwise(ends)]
    return [["conv1", "class_embedding", "positional_embedding", "ln_pre"], *of_maps]


def drop_rates(blocks: Sequence[nn.Module], last: float) -> list[float]:
    """Return the stochastic depth of each block of a transformer: rising linearly from 0 to `last`; 0 where frozen."""
    # Numbers, on whatever device the model is built.
    rates = torch.linspace(0, last, len(blocks), device="cpu").tolist()
    trains = [any(parameter.requires_grad for parameter in block.parameters()) for block in blocks]
    return [rate * train for rate, train in zip(rates, trains, strict=True)]


def check_freeze_at(freeze_at: int) -> None:
    """Raise ValueError for a number of stages that no image encoder here has; Detectron2 takes any."""
    if not 0 <= freeze_at <= NUM_STAGES:
        raise ValueError(
            f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}; wanted is 0 (all of the backbone trains), 1 (the stem does "
            "not), 2 (nor what gives res2), and so on up to 5 (nor what gives res5)"
        )
