"""Weights of DenseCLIP, CLIP and ImageNet ResNets, converted to files for MODEL.WEIGHTS, and DenseCLIP's also back."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from icpc_d2.checkpoint.checkpointer import ICPCCheckpointer
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.denseclip import NAME_POSITIONS, from_denseclip, read_denseclip, to_denseclip
from icpc_d2.checkpoint.imagenet import read_imagenet
from icpc_d2.checkpoint.key_maps import check_activation, check_classes, convert_clip, fit_weights, uses_quick_gelu
from icpc_d2.checkpoint.model_file import pack, save_content
from icpc_d2.checkpoint.sources import locate, trained_with_quick_gelu
from icpc_d2.files import atomically


class Conversion(NamedTuple):
    """A converted file: its content, to be saved by torch, and the names of the tensors that it leaves out."""

    content: dict[str, Any]
    dropped: list[str]


def convert_denseclip(source: str, model: nn.Module, class_names: Sequence[str]) -> Conversion:
    """Convert DenseCLIP's segmentation model to a whole checkpoint of ours.

    Raises:
        ValueError: the file cannot be read, or is of another model or of other classes.
    """
    weights, classes = read_denseclip(locate(source))
    check_classes(classes, class_names)
    converted, dropped = from_denseclip(weights, model.state_dict())
    _check_fits_denseclip(model, len(weights["text_encoder.positional_embedding"]))
    content = {"model": converted, "class_names": list(class_names), "quick_gelu": uses_quick_gelu(model)}
    return Conversion(content, dropped)


def convert_to_denseclip(
    source: str, model: nn.Module, class_names: Sequence[str], colors: Sequence[Sequence[int]] | None
) -> Conversion:
    """Convert a checkpoint of ours to DenseCLIP's.

    Args:
        class_names, colors: of the model's classes, for its ``meta``, where DenseCLIP's programs look for them.

    Raises:
        ValueError: the file cannot be read, or is not of a model that DenseCLIP could have.
    """
    content = read_weights(locate(source))
    check_classes(content.get("class_names", []), class_names)
    converted = to_denseclip(fit_weights(content["model"], model.state_dict(), resize=False))
    check_activation(model, content.get("quick_gelu", uses_quick_gelu(model)))  # older files do not say
    _check_fits_denseclip(model, model.prompt.num_context + NAME_POSITIONS)
    return Conversion({"meta": {"CLASSES": list(class_names), "PALETTE": colors}, "state_dict": converted}, [])


def convert_clip_weights(source: str, model: nn.Module, class_names: Sequence[str]) -> Conversion:
    """Convert CLIP's weights to those that the model uses, in float32 and without TorchScript.

    Raises:
        ValueError: the file cannot be read or is of another CLIP than the model's, or the activations differ.
    """
    content = read_weights(locate(source))
    weights, quick_gelu = content["model"], trained_with_quick_gelu(source, content)
    _, dropped = convert_clip(weights, model.state_dict())
    check_activation(model, quick_gelu)
    used = {name: value.float() for name, value in weights.items() if name not in dropped}
    return Conversion({"model": used, "quick_gelu": quick_gelu}, dropped)


def convert_imagenet(source: str, model: nn.Module, class_names: Sequence[str]) -> Conversion:
    """Convert an ImageNet ResNet by torchvision's, OpenMMLab's or Detectron2's names, see :func:`read_imagenet`."""
    return Conversion(*read_imagenet(locate(source)))


def convert_model(
    source: str, model: nn.Module, class_names: Sequence[str], config: str, half: bool = False
) -> Conversion:
    """Convert a checkpoint of ours to a file that holds all that a prediction needs, to hand on.

    Args:
        config, half: see :func:`icpc_d2.checkpoint.model_file.pack`.

    Raises:
        ValueError: the file cannot be read, is of another model or of other classes, or has no place in half precision.
    """
    content = read_weights(locate(source))
    check_classes(content.get("class_names", []), class_names)
    weights = fit_weights(content["model"], model.state_dict(), resize=False)
    check_activation(model, content.get("quick_gelu", uses_quick_gelu(model)))  # older files do not say
    return Conversion(pack(weights, config, list(class_names), half, uses_quick_gelu(model)), [])


CONVERSIONS: dict[str, Callable[[str, nn.Module, Sequence[str]], Conversion]] = {
    "denseclip": convert_denseclip,
    "clip": convert_clip_weights,
    "imagenet": convert_imagenet,
}


def _check_fits_denseclip(model: nn.Module, positions: int) -> None:
    """Refuse what DenseCLIP has none of: GELU, synonyms, and prompts longer than its text encoder's positions."""
    if uses_quick_gelu(model) is False:
        raise ValueError(
            "DenseCLIP computes with QuickGELU, but MODEL.CLIP.ARCH builds a model with GELU: the same weights would "
            "give other results without a word. Set it to a name that ends in '-quickgelu'."
        )
    tokens = model.class_tokens
    if several := [names for names in tokens.synonyms if len(names) > 1]:
        raise ValueError(
            f"DenseCLIP has one name for a class; here some have several, which are averaged: {several[:3]}. Set "
            "MODEL.CLASS_NAMES, which has no synonyms unless MODEL.CLASS_SYNONYMS gives some."
        )
    length = len(tokens.prefix) + model.prompt.num_context + max(tokens.lengths)
    if length > positions:
        longest = tokens.names[tokens.lengths.index(max(tokens.lengths))]
        raise ValueError(
            f"The prompt of class {longest!r} has {length} tokens, but DenseCLIP's text encoder has {positions} "
            "positions. Check MODEL.CLASS_NAMES or DATASETS.TRAIN, or shorten the name."
        )


def write_conversion(conversion: Conversion, path: Path, model: nn.Module | None) -> None:
    """Write the file under a temporary name, load it into the model if one is given, and then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        save_content(conversion.content, temporary)
        if model is not None:
            ICPCCheckpointer(model, class_names=conversion.content.get("class_names", ())).load(str(temporary))
