"""Weights of other projects to files that MODEL.WEIGHTS takes, and DenseCLIP's also back; every tensor used or named.

python -m icpc_d2.tools.convert_checkpoint denseclip IN OUT.pth --config-file configs/ade20k/denseclip_R50.yaml
python -m icpc_d2.tools.convert_checkpoint denseclip IN OUT.pth --config-file ... --reverse
python -m icpc_d2.tools.convert_checkpoint clip RN50.pt OUT.pth --config-file configs/ade20k/icpc_R50.yaml
python -m icpc_d2.tools.convert_checkpoint imagenet v1c.pth OUT.pth --config-file configs/ade20k/semantic_fpn_R50.yaml

The config's model is built, and a file for MODEL.WEIGHTS appears only after it has been loaded into that model.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import PathManager
from torch import nn

from icpc_d2.analysis.random_models import build_random, load_config
from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.checkpointer import check_quick_gelu
from icpc_d2.checkpoint.classes import check_classes
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.denseclip import NAME_POSITIONS, from_denseclip, read_denseclip, to_denseclip
from icpc_d2.checkpoint.imagenet import read_imagenet
from icpc_d2.checkpoint.key_maps import check_names, convert_clip, fit, unwrap
from icpc_d2.files import atomically
from icpc_d2.modeling.class_names import get_class_names


class Conversion(NamedTuple):
    """What to write, and the names of the tensors that it leaves out."""

    content: dict[str, Any]
    dropped: list[str]


def convert_denseclip(file_name: str, model: nn.Module, cfg: CfgNode) -> Conversion:
    """DenseCLIP's segmentation model -> a whole checkpoint of ours.

    Raises:
        ValueError: the file cannot be read, or is of another model or other classes than the config's.
    """
    weights, classes = read_denseclip(file_name)
    names = get_class_names(cfg)
    check_classes(classes, names)
    converted, dropped = from_denseclip(weights, model.state_dict())
    check_prompts(model, len(weights["text_encoder.positional_embedding"]))
    return Conversion({"model": converted, "class_names": names}, dropped)


def convert_to_denseclip(file_name: str, model: nn.Module, cfg: CfgNode) -> Conversion:
    """A checkpoint of ours -> DenseCLIP's, whose ``meta`` says the classes and their colours as its programs want them.

    Raises:
        ValueError: the file cannot be read, or is not of a model that DenseCLIP could have.
    """
    content, _ = read_weights(file_name)
    names = get_class_names(cfg)
    check_classes(content.get("class_names", []), names)
    weights, wanted = unwrap(content), model.state_dict()
    check_names(wanted.keys() - weights.keys(), weights.keys() - wanted.keys(), "a checkpoint")
    weights = {name: fit(name, tensor, wanted[name], resize=False) for name, tensor in weights.items()}
    converted = to_denseclip(weights)
    check_prompts(model, model.prompt.num_context + NAME_POSITIONS)
    colors = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("stuff_colors") if cfg.DATASETS.TRAIN else None
    return Conversion({"meta": {"CLASSES": names, "PALETTE": colors}, "state_dict": converted}, [])


def convert_clip_weights(file_name: str, model: nn.Module, cfg: CfgNode) -> Conversion:
    """CLIP's weights -> those that the model uses, in float32 and without TorchScript.

    Raises:
        ValueError: the file cannot be read or is of another CLIP than the config's, or the activations differ.
    """
    content, is_openai = read_weights(file_name)
    weights, is_openai = unwrap(content), content.get("is_openai", is_openai)
    if is_openai:
        check_quick_gelu(model)
    _, dropped = convert_clip(weights, model.state_dict())
    used = {name: value.float() for name, value in weights.items() if name not in dropped}
    return Conversion({"model": used, "is_openai": is_openai}, dropped)


def convert_imagenet(file_name: str, model: nn.Module, cfg: CfgNode) -> Conversion:
    """An ImageNet ResNet by torchvision's, OpenMMLab's or Detectron2's names -> one by Detectron2's, without a pickle.

    Raises:
        ValueError: the file cannot be read.
    """
    return Conversion(*read_imagenet(file_name))


CONVERSIONS: dict[str, Callable[[str, nn.Module, CfgNode], Conversion]] = {
    "denseclip": convert_denseclip,
    "clip": convert_clip_weights,
    "imagenet": convert_imagenet,
}


def check_prompts(model: nn.Module, positions: int) -> None:
    """Refuse classes whose prompts are longer than DenseCLIP's text encoder has positions for.

    Raises:
        ValueError: there is one; the message names the longest.
    """
    tokens = model.class_tokens
    length = len(tokens.prefix) + model.prompt.num_context + tokens.shapes[-1][1]
    if length > positions:
        longest = tokens.names[tokens.order.argmax()]  # groups stand in the order of their length
        raise ValueError(
            f"The prompt of class {longest!r} has {length} tokens, but DenseCLIP's text encoder has {positions} "
            "positions. Check MODEL.CLASS_NAMES or DATASETS.TRAIN, or shorten the name."
        )


def write(conversion: Conversion, path: Path, model: nn.Module | None, names: Sequence[str] = ()) -> None:
    """Write the file under a temporary name, load it into the model if one is given, and then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        torch.save(conversion.content, temporary)
        if model is not None:
            ICPCCheckpointer(model, class_names=names).load(str(temporary))


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="icpc convert", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=CONVERSIONS, help="of the weights")
    parser.add_argument("source", metavar="IN", help="a file, or clip://RN50, detectron2://ImageNetPretrained/...")
    parser.add_argument(
        "target", metavar="OUT", type=Path, help="file to write, ending in .pth; replaced if it is there"
    )
    parser.add_argument("--config-file", required=True, help="of the model that the weights are for")
    parser.add_argument("--reverse", action="store_true", help="IN is a checkpoint of ours, OUT DenseCLIP's")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="changes of the config")
    args = parser.parse_intermixed_args(arguments)
    if args.reverse and args.kind != "denseclip":
        parser.error("--reverse is for denseclip alone: the other kinds are not whole models of ours")
    if args.target.suffix != ".pth":
        parser.error(f"OUT is '{args.target}'; wanted is a name that ends in .pth, by which it is read again")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse_args(arguments)
    try:
        cfg = load_config(args.config_file, args.options)
        model = build_random(cfg)
        file_name = PathManager.get_local_path(args.source)
        if args.reverse:
            conversion = convert_to_denseclip(file_name, model, cfg)
            write(conversion, args.target, None)
        else:
            conversion = CONVERSIONS[args.kind](file_name, model, cfg)
            write(conversion, args.target, model, conversion.content.get("class_names", ()))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    weights = conversion.content["state_dict" if args.reverse else "model"]
    print(
        f"{args.target}: {len(weights)} tensors of {args.source}; left out: {', '.join(conversion.dropped) or 'none'}."
    )


if __name__ == "__main__":
    main()
