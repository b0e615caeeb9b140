"""Train a small CLIP of our own, both towers, on drawn pictures with captions.

    icpc pretrain --config-file configs/pretrain/tiny_RN.yaml
    icpc pretrain --config-file configs/pretrain/tiny_RN.yaml --resume --pack tiny-RN.safetensors
    icpc pretrain --config-file configs/pretrain/tiny_RN.yaml --eval-only MODEL.WEIGHTS clip://tiny-RN
    icpc pretrain --words output/quickstart/model_final.pth
    icpc pretrain --config-file configs/pretrain/tiny_ViT.yaml MODEL.DEVICE cuda SOLVER.AMP.ENABLED True

It is evaluated without labels: which kinds of things a held-out scene shows, which colour the car has, which caption
belongs to which picture, and where the ten classes are. OUTPUT_DIR/model_final.pth is for MODEL.WEIGHTS of any config
with the same MODEL.CLIP.ARCH; --words asks such a model, when it is trained, for things that no label has named.
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from icpc_d2.engine import launch
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.pretrain.packing import pack_final
from icpc_d2.tools.pretrain.settings import read_settings
from icpc_d2.tools.pretrain.trainer import CLIPCheckpointer, PretrainTrainer
from icpc_d2.tools.pretrain.words import evaluate_words, format_words


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line, which is Detectron2's and one more."""
    parser = default_argument_parser(__doc__)
    parser.prog, parser.formatter_class = "icpc pretrain", argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--pack", type=Path, metavar="FILE.safetensors", help="also write the weights small enough to ship, and a card"
    )
    parser.add_argument(
        "--words", metavar="WEIGHTS", help="instead: ask a trained segmentation model for kinds without a label"
    )
    parser.add_argument("--scenes", type=int, default=200, metavar="N", help="that --words looks at (default: 200)")
    args = parser.parse_args(arguments)
    if args.scenes < 1:
        parser.error(f"--scenes is {args.scenes}; wanted is 1 or more")
    if not args.config_file and not args.words:
        parser.error("--config-file is missing; configs/pretrain/tiny_RN.yaml trains in half an hour without a GPU")
    if args.pack and args.pack.suffix != ".safetensors":
        parser.error(f"--pack is {args.pack}; wanted is a name that ends in .safetensors")
    if args.pack and args.eval_only:
        parser.error("--pack is of a training, not of --eval-only")
    return args


def pretrain(args: Namespace) -> dict | None:
    """Run one process of a pretraining or an evaluation; exit with a sentence on a wrong config.

    Return the figures: {"zero_shot": {"mAP": ..., ...}}, or None without an evaluation.
    """
    try:
        cfg = read_settings(args)
        # Opens or draws the scenes of PRETRAIN.CACHE.
        trainer = None if args.eval_only else PretrainTrainer(cfg)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if trainer is None:
        model = PretrainTrainer.build_model(cfg)
        CLIPCheckpointer(model, cfg.OUTPUT_DIR).load(cfg.MODEL.WEIGHTS, checkpointables=[])
        return PretrainTrainer.test(cfg, model)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    if args.pack and comm.is_main_process():
        print(pack_final(cfg, args.pack))
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse_args(arguments)
    if not args.words:
        launch(pretrain, args)
        return
    try:
        print(format_words(evaluate_words(Predictor(args.words), args.scenes)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
