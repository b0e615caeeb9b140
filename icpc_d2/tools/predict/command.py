"""Segment images, folders, videos and what a camera sees with a trained model.

    icpc predict --weights output/quickstart/model_final.pth --input photos --output seen
    icpc predict --weights W --input "photos/**/*.jpg" film.mp4 --output seen --kind overlay,json
    icpc predict --weights W --input 0 --output seen               # the first camera; Ctrl-C ends
    icpc predict --weights W --input a.jpg --output seen --classes "sky, a red car, everything else"
    icpc predict --weights W --input a.jpg --output seen --classes "sky; boat, ship, vessel; everything else"

    icpc predict --weights W --input-list photos.txt --output seen --resume --shard 2/8
    icpc predict --weights W --input-list photos.txt --output seen --resume --engine ray --ray-address 10.0.0.1:6379

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

import torch

from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.sources import locate
from icpc_d2.data.class_list import read_class_list
from icpc_d2.inference.exported_predictor import load_predictor
from icpc_d2.inference.prediction import ALPHA, KINDS
from icpc_d2.inference.predictor import CONFIG_NAME
from icpc_d2.tools.predict.manifest import Manifest
from icpc_d2.tools.predict.ray_engine import RayEngine, WorkersError
from icpc_d2.tools.predict.shards import Shard, find_shard
from icpc_d2.tools.predict.source_predictor import SourcePredictor
from icpc_d2.tools.predict.sources import find_sources, is_camera, read_list
from icpc_d2.tools.predict.tally import Tally
from icpc_d2.tools.predict.throughput import measure_model


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
    parser.add_argument(
        "--engine",
        choices=("threads", "ray"),
        default="threads",
        help="threads of this process, or workers of Ray, one a GPU or a share of the CPUs; %(default)s",
    )
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="a Ray cluster that runs; $RAY_ADDRESS, else one is started here"
    )
    parser.add_argument("--workers", type=_positive, metavar="N", help="of Ray; one a GPU, or for each 4 CPU cores")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="then run the model alone on the images, and say what it is slowed down by",
    )
    parser.add_argument("--frames", type=_count, default=0, metavar="N", help="of a video, at most; 0: all")
    parser.add_argument("--device", help="cpu, cuda, mps; a GPU if there is one")
    args = parser.parse_args(arguments)
    if not (args.input or args.input_list):
        parser.error("wanted is --input or --input-list")
    if args.engine != "ray" and (args.workers or args.ray_address):
        parser.error("--workers and --ray-address are of --engine ray")
    if args.engine == "ray" and args.measure:
        parser.error("--measure is of this process: leave out --engine ray")
    return args


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; wanted 1 or more")
    return int(text)


def _count(text: str) -> int:
    return 0 if text == "0" else _positive(text)


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
        engine = start_engine(args, shard)
        is_recorded = args.resume or shard.count > 1 or args.engine == "ray"
        manifest = Manifest(Path(args.output), shard, settings_of(args), args.resume) if is_recorded else None
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.classes or args.predict_from == "alignment":
        print("From the alignment A: the decoder's head is bound to the classes that it was trained for.")
    found, missing = find_sources(args.input, listed)
    sources = shard.of(found)
    if shard.count > 1:
        print(f"part {shard.index + 1} of {shard.count} (by {shard.source}): {len(sources)} of {len(found)} inputs")
    tally = Tally(args, manifest, missing if shard.index == 0 else {})
    total = len(sources) + len(tally.failures)
    left = tally.without_done(sources)
    if len(left) < len(sources):
        print(f"{len(sources) - len(left)} are done already")
    try:
        with manifest or nullcontext():
            tally.take(engine.results(left), left)
    except WorkersError as error:
        print(f"error: {error}\nWhat is done is recorded: --resume goes on from there.", file=sys.stderr)
        return 2
    status = tally.report(total)
    if args.measure and tally.rate:
        count, rate = measure_model(engine, left)
        share = f"{rate:.2f} images/s, of which these are {tally.rate / rate:.1%}" if count else "none can be used"
        print(f"the model alone, on {count} of them: {share}")
    return status


def start_engine(args: argparse.Namespace, shard: Shard) -> SourcePredictor | RayEngine:
    """Return what segments the inputs, after it was seen that the model does what is asked for.

    Raises:
        ImportError, OSError, ValueError: it does not, or the engine cannot be started.
    """
    if args.engine == "threads":
        predictor = SourcePredictor(load_predictor(args.weights, args.device or device_of(shard), args.tta), args)
        predictor.check()
        return predictor
    if shard.count > 1 and args.shard is None:
        raise ValueError(
            f"--engine ray shares the inputs among its workers by itself: start it once, not {shard.count} times by "
            f"{shard.source}."
        )
    if camera := next((text for text in args.input if is_camera(text)), None):
        raise ValueError(f"--input {camera} is a camera, which is of this machine: leave out --engine ray.")
    engine = RayEngine(args)
    SourcePredictor(load_predictor(args.weights, "cpu", args.tta), args).check()
    return engine


def device_of(shard: Shard) -> str | None:
    """Return the GPU of a process among several on this machine; None: as for a single one."""
    count = torch.cuda.device_count()
    return f"cuda:{shard.local_index % count}" if count > 1 and shard.count > 1 else None


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the files of an input depend on besides the input and the kind of file."""
    weights = Path(locate(args.weights))
    config = weights.with_name(CONFIG_NAME)
    return {
        "weights": sha256_of(weights),
        "config": sha256_of(config) if config.is_file() else None,
        "classes": args.classes,
        "predict_from": args.predict_from,
        "tta": args.tta,
        "alpha": args.alpha,
        "frames": args.frames,
    }
