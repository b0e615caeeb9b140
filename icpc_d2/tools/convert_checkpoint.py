"""Convert weights of other projects to files for MODEL.WEIGHTS, and DenseCLIP's also back; every tensor used or named.

    icpc convert denseclip IN OUT.pth --config-file configs/ade20k/denseclip_R50.yaml
    icpc convert denseclip IN OUT.pth --config-file ... --reverse
    icpc convert clip RN50.pt OUT.pth --config-file configs/ade20k/icpc_R50.yaml
    icpc convert imagenet v1c.pth OUT.pth --config-file configs/ade20k/semantic_fpn_R50.yaml

The config's model is built, and a file for MODEL.WEIGHTS appears only after it has been loaded into that model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import PathManager

from icpc_d2.analysis.random_models import build_random, load_resolved_config
from icpc_d2.checkpoint.conversions import CONVERSIONS, convert_to_denseclip, write_conversion
from icpc_d2.modeling.class_names import get_class_names


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        cfg = load_resolved_config(args.config_file, args.options)
        model, class_names = build_random(cfg), get_class_names(cfg)
        file_name = PathManager.get_local_path(args.source)
        if args.reverse:
            colors = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("stuff_colors") if cfg.DATASETS.TRAIN else None
            conversion = convert_to_denseclip(file_name, model, class_names, colors)
        else:
            conversion = CONVERSIONS[args.kind](file_name, model, class_names)
        write_conversion(conversion, args.target, None if args.reverse else model)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    weights = conversion.content["state_dict" if args.reverse else "model"]
    print(
        f"{args.target}: {len(weights)} tensors of {args.source}; left out: {', '.join(conversion.dropped) or 'none'}."
    )


if __name__ == "__main__":
    main()
