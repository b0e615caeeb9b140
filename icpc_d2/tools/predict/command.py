"""Segment images, folders, videos and what a camera sees with a trained model.

    icpc predict --weights output/quickstart/model_final.pth --input photos --output seen
    icpc predict --weights W --input "photos/**/*.jpg" film.mp4 --output seen --kind overlay,json
    icpc predict --weights W --input 0 --output seen               # the first camera; Ctrl-C ends
    icpc predict --weights W --input a.jpg --output seen --classes "sky, a red car, everything else"
    icpc predict --weights W --input a.jpg --output seen --classes "sky; boat, ship, vessel; everything else"

    icpc predict --weights W --input-list photos.txt --output seen --resume --shard 2/8

An image gives NAME_overlay.png, NAME_color.png, NAME_label.png (class ids), NAME_side-by-side.png and NAME.json
(class, share, boxes), as asked for by --kind. A video gives videos of the same frame rate (overlay and color of the
same size too) with a legend beside them, a folder NAME_label/ and one JSON of all frames. A file that cannot be used
does not stop the others; all of these are named at the end, and the exit status is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.data.class_list import read_class_list
from icpc_d2.inference.exported_predictor import load_predictor
from icpc_d2.inference.prediction import ALPHA, KINDS
from icpc_d2.inference.predictor import CONFIG_NAME
from icpc_d2.tools.predict.manifest import Manifest
from icpc_d2.tools.predict.shards import Shard, find_shard
from icpc_d2.tools.predict.source_predictor import SourcePredictor
from icpc_d2.tools.predict.sources import find_sources, read_list


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        required=True,
        help="a checkpoint with its config.yaml, as training leaves it, or an exported .onnx",
    )
    parser.add_argument(
        "--input",
        nargs="+",
        default=[],
        metavar="PATH",
        help="image, folder, glob, video, an address of these (s3://..., https://...), or a camera's index",
    )
    parser.add_argument("--input-list", type=Path, metavar="FILE", help="a file or an address in each line")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--kind", type=_kinds, default=["overlay"], help=f"some of {','.join(KINDS)}; overlay")
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        "--classes", metavar='"A, B" or "A; B1, B2"', help="other class names, predicted from the alignment A"
    )
    words.add_argument("--classes-file", type=Path, metavar="FILE", help="the same, a class in each line")
    parser.add_argument("--predict-from", choices=("decoder", "alignment"), help="as the model's config says")
    parser.add_argument(
        "--tta", action="store_true", default=None, help="see each image at the config's TEST.AUG.SCALES, and mirrored"
    )
    parser.add_argument("--alpha", type=float, default=ALPHA, help="strength of the overlay, 0 to 1; %(default)s")
    parser.add_argument(
        "--batch-size", type=_positive, default=4, metavar="N", help="images of one size predicted at once; %(default)s"
    )
    parser.add_argument("--shard", metavar="I/N", help="the I-th of N parts of the inputs, as torchrun or SLURM says")
    parser.add_argument(
        "--resume", action="store_true", help="record what is done in the output folder, and leave out what was"
    )
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="of a video, at most; 0: all")
    parser.add_argument("--device", help="cpu, cuda, mps; a GPU if there is one")
    args = parser.parse_args(arguments)
    if not (args.input or args.input_list):
        parser.error("wanted is --input or --input-list")
    return args


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; wanted 1 or more")
    return int(text)


def _kinds(text: str) -> list[str]:
    found = [kind.strip() for kind in text.split(",")]
    unknown = [kind for kind in found if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"found {', '.join(unknown)}; wanted some of {','.join(KINDS)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse_args(arguments)
    try:
        shard = find_shard(args.shard)
        if args.classes_file:
            args.classes = read_class_list(args.classes_file).all_names
        listed = read_list(args.input_list) if args.input_list else ()
        predictor = SourcePredictor(load_predictor(args.weights, args.device or device_of(shard), args.tta), args)
        # Whatever is wrong with the model or the class names is wrong for every image.
        predictor.predict([np.zeros((32, 32, 3), np.uint8)])[0].overlay(args.alpha)
        is_recorded = args.resume or shard.count > 1
        manifest = Manifest(Path(args.output), shard, settings_of(args), args.resume) if is_recorded else None
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.classes or args.predict_from == "alignment":
        print("From the alignment A: the decoder's head is bound to the classes that it was trained for.")
    found, missing = find_sources(args.input, listed)
    predictor.failures.update(missing if shard.index == 0 else {})
    sources = shard.of(found)
    if shard.count > 1:
        print(f"part {shard.index + 1} of {shard.count} (by {shard.source}): {len(sources)} of {len(found)} inputs")
    left = sources if manifest is None else [source for source in sources if not predictor.is_done(source, manifest)]
    if len(left) < len(sources):
        print(f"{len(sources) - len(left)} are done already")
    with manifest or nullcontext():
        predictor.run(left, manifest)
    return report(predictor, len(sources) + len(predictor.failures.keys() & missing.keys()), len(left))


def report(predictor: SourcePredictor, total: int, left: int) -> int:
    """Say how many of the inputs are done, how fast, and which are not; return the exit status."""
    rate = f", {predictor.done / predictor.seconds:.2f} images/s" if predictor.done and predictor.seconds > 1 else ""
    print(f"{total - len(predictor.failures)} of {total} done, in {predictor.args.output}{rate if left else ''}")
    for place, reason in predictor.failures.items():
        print(f"failed: {place}: {reason.removeprefix(f'{place}: ')}", file=sys.stderr)
    return 1 if predictor.failures else 0


def device_of(shard: Shard) -> str | None:
    """Return the GPU of a process among several on this machine; None: as for a single one."""
    count = torch.cuda.device_count()
    return f"cuda:{shard.local_index % count}" if count > 1 and shard.count > 1 else None


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the files of an image depend on besides the image and the kind of file."""
    config = Path(args.weights).with_name(CONFIG_NAME)
    return {
        "weights": sha256_of(Path(args.weights)),
        "config": sha256_of(config) if config.is_file() else None,
        "classes": args.classes,
        "predict_from": args.predict_from,
        "tta": args.tta,
        "alpha": args.alpha,
    }
