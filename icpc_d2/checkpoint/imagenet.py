"""ImageNet ResNets of torchvision, timm, OpenMMLab and Detectron2's zoo, in Detectron2's names and without a pickle."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.kinds import RESNET
from icpc_d2.files import unpickle_arrays

# Pattern in torchvision's names -> in Detectron2's; "stem.0" to "stem.7" are the three convolutions of OpenMMLab's
# ResNet-V1c and their norms, "conv1.0" to "conv1.6" those of timm's resnet50c, whose last norm is "bn1".
TORCHVISION_NAMES = {
    **{rf"^conv1\.{3 * i}\.": f"stem.conv{i + 1}." for i in range(3)},
    **{rf"^conv1\.{3 * i + 1}\.": f"stem.bn{i + 1}." for i in range(2)},
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
        weights = rename_resnet(weights)
    dropped = [name for name in weights if is_classifier(name)]
    weights = {name: value for name, value in weights.items() if name not in dropped}
    return {"model": weights, "__author__": author, "matching_heuristics": True}, dropped


def is_resnet(names: Iterable[str]) -> bool:
    """Return whether these names are those of an ImageNet ResNet, of torchvision, timm, OpenMMLab or mmpretrain."""
    names = [name for name in names if not is_classifier(name)]
    is_one = any(RESNET.match(name) for name in names)
    return is_one and len({name.startswith("backbone.") for name in names}) == 1


def rename_resnet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an ImageNet ResNet by Detectron2's names."""
    weights = {name.removeprefix("backbone."): value for name, value in weights.items()}
    if "conv1.0.weight" in weights:  # timm's deep stem: its "bn1" is the third
        weights = {re.sub(r"^bn1\.", "stem.bn3.", name): value for name, value in weights.items()}
    return {rename_torchvision(name): value for name, value in weights.items()}


def check_stem(weights: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Raise ValueError, which names the key, for an ImageNet ResNet with the other kind of stem than the model's."""
    first = [
        [value for name, value in tensors.items() if name.endswith("stem.conv1.weight")] for tensors in (weights, model)
    ]
    sides = [found[0].shape[-1] for found in first if found]
    if sides in ([7, 3], [3, 7]):
        kinds = {7: ("one 7x7 convolution", "basic"), 3: ("three 3x3 convolutions (ResNet-V1c)", "deeplab")}
        (theirs, name), (ours, _) = (kinds[side] for side in sides)
        raise ValueError(
            f"The stem of this ImageNet ResNet is {theirs}, the model's is {ours}: set MODEL.RESNETS.STEM_TYPE {name}, "
            "or take weights of the model's own kind, as openmmlab://resnet50_v1c."
        )


def rename_torchvision(name: str) -> str:
    """Turn torchvision's name of a parameter into Detectron2's: "layer1.0.bn2.bias" -> "res2.0.conv2.norm.bias"."""
    for pattern, replacement in TORCHVISION_NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def is_classifier(name: str) -> bool:
    """Return whether a name is of an ImageNet ResNet's last layer, which no segmentation model has."""
    layer = name.split(".")[-2] if "." in name else name
    # Squeeze and excitation has layers of such names inside of the stages, which no plain ResNet has.
    is_inside = re.match(r"(backbone\.)?(layer|res)\d", name) is not None
    return (layer.startswith("fc") or layer == "linear") and not is_inside


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
