"""Label maps on their way into the losses."""

from typing import Any

import torch
from detectron2.modeling import Backbone
from detectron2.structures import ImageList
from torch import Tensor

# The ignore value of 16-bit label files, whatever the model's own is.
IGNORE_16_BIT = 65535


def is_labelled(labels: Tensor, ignore_value: int) -> Tensor:
    """Return where `labels`, of any shape, name a class: bool, False for either ignore value."""
    return (labels != ignore_value) & (labels != IGNORE_16_BIT)


def batch_labels(
    batched_inputs: list[dict[str, Any]], ignore_value: int, backbone: Backbone, device: torch.device
) -> Tensor:
    """Pad label maps as their images are padded, with the ignore value, and stack them.

    Args:
        batched_inputs: one dict per image with "sem_seg": (H, W) int64, class ids, `ignore_value` or
            :data:`IGNORE_16_BIT`.

    Returns:
        (B, H, W), with `ignore_value` alone for what is ignored.
    """
    labels = [inputs["sem_seg"].to(device) for inputs in batched_inputs]
    labels = [label.masked_fill(label == IGNORE_16_BIT, ignore_value) for label in labels]
    return ImageList.from_tensors(labels, backbone.size_divisibility, ignore_value, backbone.padding_constraints).tensor
