"""A training or an evaluation from the command line on, for train_net.py, ``icpc train`` and ``icpc evaluate``."""

import sys
from argparse import Namespace
from collections.abc import Sequence

from detectron2.engine import default_argument_parser
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.engine.initial_weights import WEIGHTS
from icpc_d2.engine.setup import setup
from icpc_d2.engine.trainer import Trainer


def main(args: Namespace) -> dict | None:
    """Run one process of a training or an evaluation; exit with a sentence on a wrong config.

    Return the results of the evaluation, or of the last one of the training: those of
    :meth:`icpc_d2.engine.Trainer.test`, or None if there is no data set to evaluate.

    Args:
        args: parsed by ``detectron2.engine.default_argument_parser``.
    """
    try:
        cfg = setup(args)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if args.eval_only:
        model = Trainer.build_model(cfg)
        checkpointer = ICPCCheckpointer(model, cfg.OUTPUT_DIR, class_names=cfg.MODEL.CLASS_NAMES, whole=True)
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            verify_results(cfg, results)
        return results
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def parse_args(
    arguments: Sequence[str] | None = None, prog: str | None = None, epilog: str = "", eval_only: bool = False
) -> Namespace:
    """Parse the command line, or `arguments`, of a program with this name and end of its help; exit if it is wrong.

    Args:
        eval_only: evaluate, whatever the command line says.
    """
    parser = default_argument_parser(epilog)
    parser.prog = prog or parser.prog
    args = parser.parse_args(arguments)
    args.eval_only |= eval_only
    if not args.config_file and args.eval_only and WEIGHTS in args.opts[:-1:2]:
        return args  # a model's file may hold its config
    if not args.config_file:
        parser.error("--config-file is missing; configs/quickstart/icpc_tiny.yaml trains in minutes without a GPU")
    if not PathManager.isfile(args.config_file):
        parser.error(f"--config-file {args.config_file}: there is no such file")
    return args
