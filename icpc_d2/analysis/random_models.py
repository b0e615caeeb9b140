"""Models of configs, and batches for them, that need neither data nor weights nor network."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2.config import load_config
from icpc_d2.config.resolve import resolve_device, resolve_norms
from icpc_d2.data.class_list import read_class_list


def load_resolved_config(
    config_file: str, options: Sequence[Any] = (), num_classes: int = 0, device: str = "cpu"
) -> CfgNode:
    """Read a config, and settle what depends on the machine as a run of one process does.

    Args:
        options: KEY VALUE pairs.
        num_classes: other than the config's, with the names of :func:`class_names`; 0: those of the config.

    Raises:
        ConfigError: see :func:`icpc_d2.config.load_config`.
    """
    cfg = load_config(config_file, options)
    if num_classes:
        cfg.MODEL.CLASS_NAMES = class_names(num_classes)
    return resolved(cfg, device)


def resolved(cfg: CfgNode, device: str = "cpu") -> CfgNode:
    """Return a config, frozen, with what depends on the machine settled as a run of one process does."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = device
    resolve_device(cfg)
    resolve_norms(cfg, num_processes=1)
    cfg.freeze()
    return cfg


def class_names(number: int) -> list[str]:
    """Return that many class names: those of ADE20K-Full, and then pairs of its names that are one word."""
    names = list(read_class_list("ade20k_full_847").prompt_names[:number])
    words = [name for name in names if name.isalpha()]
    pairs = (f"{first} {second}" for first in words for second in words if first != second)
    return [*names, *islice((pair for pair in pairs if pair not in names), number - len(names))]


def build_random(cfg: CfgNode, seed: int = 0) -> nn.Module:
    """Build the model of a config with random weights, in eval mode."""
    torch.manual_seed(seed)
    return build_model(cfg).eval()


def plain_form(cfg: CfgNode) -> CfgNode:
    """Return the config of the same model in the paper's own form (``MODEL.FAST False``)."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.FAST = False
    cfg.freeze()
    return cfg


def build_both_forms(cfg: CfgNode) -> tuple[nn.Module, nn.Module]:
    """Build the model of a config with random weights, plain and fast, on the same parameters."""
    fast, plain = build_random(cfg), build_random(plain_form(cfg))
    share_parameters(fast, plain)
    return plain, fast


def share_parameters(source: nn.Module, target: nn.Module) -> None:
    """Make a model stand on the very parameters of another of the same state dict."""
    for name, parameter in source.named_parameters():
        owner, _, leaf = name.rpartition(".")
        setattr(target.get_submodule(owner), leaf, parameter)


def random_batch(num_classes: int, count: int, size: int) -> list[dict[str, Tensor]]:
    """Draw images of noise, and labels in blocks of 32 pixels, so that classes have points at every stride.

    Args:
        size: side of the images in pixels, a multiple of 32.
    """
    blocks = torch.randint(num_classes, (count, size // 32, size // 32))
    labels = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8)
    return [{"image": image, "sem_seg": label} for image, label in zip(images, labels, strict=True)]
