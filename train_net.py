#!/usr/bin/env python
"""Train or evaluate by a config file.

    python train_net.py --config-file configs/quickstart/icpc_tiny.yaml
    python train_net.py --config-file configs/ade20k/icpc_R50.yaml --num-gpus 8
    python train_net.py --config-file configs/ade20k/icpc_R50.yaml --eval-only MODEL.WEIGHTS output/model_final.pth

``KEY VALUE`` pairs at the end change the config. Without a GPU, ``--num-gpus N`` starts N processes on the CPU.
docs/distributed.md says how torchrun or SLURM start the processes.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from detectron2.engine import default_argument_parser
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

import icpc_d2  # noqa: F401  registers data sets, backbones and the meta-architecture
from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.engine import Trainer, launch, setup


def main(args: Namespace) -> dict | None:
    """Run one process of a training or an evaluation; leave with a sentence where the config cannot be.

    Returns:
        The evaluation's results, if there were any.
    """
    try:
        cfg = setup(args)
    except (ValueError, OSError) as error:
        sys.exit(f"train_net.py: {error}")
    if args.eval_only:
        model = Trainer.build_model(cfg)
        checkpointer = ICPCCheckpointer(model, cfg.OUTPUT_DIR, class_names=cfg.MODEL.CLASS_NAMES)
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            verify_results(cfg, results)
        return results
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def parse_args(arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line, or `arguments`; leave with a message where it is wrong."""
    parser = default_argument_parser(epilog=__doc__)
    args = parser.parse_args(arguments)
    if not args.config_file:
        parser.error("--config-file is missing; configs/quickstart/icpc_tiny.yaml trains in minutes without a GPU")
    if not PathManager.isfile(args.config_file):
        parser.error(f"--config-file {args.config_file}: there is no such file")
    return args


if __name__ == "__main__":
    launch(main, parse_args())
