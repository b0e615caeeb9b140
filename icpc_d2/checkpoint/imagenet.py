"""ImageNet ResNets of torchvision, OpenMMLab and Detectron2's model zoo, in Detectron2's names and without a pickle."""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.files import unpickle_arrays

# Pattern in torchvision's names -> in Detectron2's; "stem.0" to "stem.7" are the three convolutions of OpenMMLab's
# ResNet-V1c and their norms.
TORCHVISION_NAMES = {
    r"^(conv1|bn1)\.": r"stem.\1.",
    **{rf"^stem\.{3 * i}\.": f"stem.conv{i + 1}." for i in range(3)},
    **{rf"^stem\.{3 * i + 1}\.": f"stem.bn{i + 1}." for i in range(3)},
    **{rf"^layer{i}\.": f"res{i + 1}." for i in range(1, 5)},
    r"\.bn(\d)\.": r".conv\1.norm.",
    r"\.downsample\.0\.": ".shortcut.",
    r"\.downsample\.1\.": ".shortcut.norm.",
}


def read_imagenet(file_name: str) -> tuple[dict[str, Any], list[str]]:
    """Read Detectron2's ``.pkl`` or a state dict by torchvision's or OpenMMLab's names; nothing in it is executed.

    Returns:
        The content of a file that `ICPCCheckpointer` loads as an ImageNet ResNet, and the names of the classifier's
        tensors, which are left out.

    Raises:
        ValueError: the file cannot be read, or it holds other Python objects than arrays.
    """
    if file_name.endswith(".pkl"):
        weights, author = _read_pickle(file_name)
    else:
        weights, author = read_weights(file_name)["model"], "torchvision"
        weights = {rename_torchvision(name): value for name, value in weights.items()}
    dropped = [name for name in weights if is_classifier(name)]
    weights = {name: value for name, value in weights.items() if name not in dropped}
    return {"model": weights, "__author__": author, "matching_heuristics": True}, dropped


def rename_torchvision(name: str) -> str:
    """Turn torchvision's name of a parameter into Detectron2's: "layer1.0.bn2.bias" -> "res2.0.conv2.norm.bias"."""
    for pattern, replacement in TORCHVISION_NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def is_classifier(name: str) -> bool:
    """Return whether a name is of an ImageNet ResNet's last layer, which no segmentation model has."""
    layer = name.split(".")[-2] if "." in name else name
    return layer.startswith("fc") or layer == "linear"


def _read_pickle(file_name: str) -> tuple[dict[str, Tensor], str]:
    """Return the weights, and the author by whom Detectron2 knows how they are named."""
    with open(file_name, "rb") as file:
        try:
            content = unpickle_arrays(file, encoding="latin1")
            author = content.get("__author__", "") if "model" in content else "Caffe2"
            # torch.tensor copies, since unpickled arrays may not be writable.
            arrays = content.get("model", content).items()
            return {name: torch.tensor(np.asarray(array)) for name, array in arrays}, author
        except Exception as error:  # damaged bytes make it raise nearly anything
            reason = str(error) or type(error).__name__
            raise ValueError(f"{file_name} cannot be read as weights of Detectron2's model zoo: {reason}.") from error
