"""Write a trained model as a file that runs without this package, and check it against the model.

    icpc export --weights output/quickstart/model_final.pth --out model.onnx
    icpc export --weights W --out model.onnx --size 512 512         # images of one size, for runtimes that want that
    icpc export --weights W --out words.onnx --classes "sky, a red car, everything else"
    icpc export --weights W --out model.pt2                         # for torch.export.load

It takes uint8 RGB (1, 3, H, W) as it is, normalizes by itself, and gives logits (1, K, H, W). What it says of itself
(classes, colours, sizes) stands in its metadata. The file is run on two pictures beside the model; one that differs is
not kept. ONNX needs the extra [export].
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from icpc_d2.data.synonyms import names_of_classes
from icpc_d2.inference.export.check import BOUNDS, ExportError
from icpc_d2.inference.export.export import ExportOptions, export_model

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="a checkpoint, with config.yaml beside it as training has it")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="ending in .onnx or .pt2")
    parser.add_argument("--format", choices=ENDINGS, help="as the ending of FILE says")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="images of this size alone, in pixels")
    sizes.add_argument("--dynamic", action="store_true", help="images of any size; without both, any that it can")
    parser.add_argument(
        "--classes", metavar='"A, B" or "A; B1, B2"', help="other class names, predicted from the alignment A"
    )
    parser.add_argument("--labels", action="store_true", help="give label maps (1, H, W) in place of logits")
    parser.add_argument("--alignment", action="store_true", help="give A beside the logits, for region maps")
    parser.add_argument("--half", action="store_true", help="compute in half precision, for GPUs")
    args = parser.parse_args(arguments)
    if args.format and args.out.suffix != ENDINGS[args.format]:
        parser.error(f"--out is {args.out}, but --format {args.format} is written to names in {ENDINGS[args.format]}")
    if args.size and min(args.size) < 1:
        parser.error(f"--size is {args.size[0]} {args.size[1]}; wanted are two positive numbers of pixels")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse_args(arguments)
    size = tuple(args.size) if args.size else None
    try:
        names = None if args.classes is None else names_of_classes(args.classes)
        options = ExportOptions(size, args.dynamic, names, args.labels, args.alignment, args.half)
        comparisons = export_model(args.weights, args.out, options)
    except (ExportError, ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for comparison in comparisons:
        print(comparison)
    bounds = BOUNDS["float16" if args.half else "float32"]
    print(
        f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; allowed were differences of {bounds.difference:g} of the "
        f"spread, and {bounds.equal:.2%} of the labels had to be equal."
    )
    return 0
