"""Convert weights of other projects to files for MODEL.WEIGHTS, DenseCLIP's also back, and trained models to one file.

    icpc convert denseclip IN OUT.pth --config-file configs/ade20k/denseclip_R50.yaml
    icpc convert denseclip IN OUT.pth --config-file ... --reverse
    icpc convert clip RN50.pt OUT.pth --config-file configs/ade20k/icpc_R50.yaml
    icpc convert imagenet v1c.pth OUT.pth --config-file configs/ade20k/semantic_fpn_R50.yaml
    icpc convert model output/quickstart/model_final.pth OUT.safetensors --half

Every tensor is used, or named as left out. The last makes one file of a trained model, its config and class names,
that the predictor, `icpc evaluate MODEL.WEIGHTS OUT.safetensors` and hf://OWNER/NAME take without anything else. The
config's model is built, and a file for MODEL.WEIGHTS appears only after it has been loaded into that model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from icpc_d2.analysis.random_models import build_random, resolved
from icpc_d2.checkpoint.conversions import CONVERSIONS, convert_model, convert_to_denseclip, write_conversion
from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.model_file import ENDINGS
from icpc_d2.checkpoint.sources import locate
from icpc_d2.config import load_config
from icpc_d2.inference.predictor import read_config
from icpc_d2.modeling.class_names import get_class_names, resolve_class_names

MODEL = "model"


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=[*CONVERSIONS, MODEL], help="of the weights")
    parser.add_argument("source", metavar="IN", help="a file, or clip://RN50, detectron2://ImageNetPretrained/...")
    parser.add_argument(
        "target", metavar="OUT", type=Path, help="to write, ending in .pth or .safetensors; replaced if it is there"
    )
    parser.add_argument("--config-file", help="of the model that the weights are for; model: default that beside IN")
    parser.add_argument("--reverse", action="store_true", help="IN is a checkpoint of ours, OUT DenseCLIP's")
    parser.add_argument("--half", action="store_true", help="model: store weights in half precision")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="changes of the config")
    args = parser.parse_intermixed_args(arguments)
    if args.reverse and args.kind != "denseclip":
        parser.error("--reverse is for denseclip alone: the other kinds are not whole models of ours")
    endings = ENDINGS if args.kind == MODEL else ENDINGS[:1]
    if args.target.suffix not in endings:
        wanted = " or ".join(endings)
        parser.error(f"OUT is '{args.target}'; wanted is a name that ends in {wanted}, by which it is read again")
    if args.half and args.kind != MODEL:
        parser.error("--half is for the kind model alone")
    if not args.config_file and args.kind != MODEL:
        parser.error("the following arguments are required: --config-file")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse_args(arguments)
    try:
        # As it is handed on: this machine's device and number of processes are no part of it.
        whole = read_model_config(args)
        cfg = resolved(whole)
        model, class_names = build_random(cfg), get_class_names(cfg)
        if args.kind == MODEL:
            conversion = convert_model(args.source, model, class_names, whole.dump(), args.half)
        elif args.reverse:
            colors = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("stuff_colors") if cfg.DATASETS.TRAIN else None
            conversion = convert_to_denseclip(args.source, model, class_names, colors)
        else:
            conversion = CONVERSIONS[args.kind](args.source, model, class_names)
        write_conversion(conversion, args.target, None if args.reverse else model)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    weights = conversion.content["state_dict" if args.reverse else "model"]
    dropped = ", ".join(conversion.dropped) or "none"
    print(f"{args.target}: {len(weights)} tensors of {args.source}; left out: {dropped}.")
    print(f"{args.target.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256_of(args.target)}")


def read_model_config(args: argparse.Namespace) -> CfgNode:
    """Read the config of the model; of a trained one with its class names, and without the weights that it began with.

    Raises:
        ConfigError, FileNotFoundError: there is none, or it cannot be read.
    """
    if args.config_file:
        cfg = load_config(args.config_file, args.options)
    else:
        found = read_config(Path(locate(args.source)))
        cfg = load_config(args.source, args.options, text=found.dump())
    if args.kind == MODEL:
        resolve_class_names(cfg)
        cfg.MODEL.WEIGHTS = cfg.MODEL.TEXT_ENCODER.WEIGHTS = ""
    return cfg


if __name__ == "__main__":
    main()
