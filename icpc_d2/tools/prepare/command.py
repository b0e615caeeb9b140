"""Prepare a data set: ``icpc prepare SET``."""

import argparse
import importlib
from collections.abc import Sequence

SETS = (
    "ade20k",
    "ade20k_full",
    "camvid",
    "cityscapes",
    "coco_stuff_10k",
    "coco_stuff_164k",
    "isaid",
    "pascal_context",
    "voc",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe of the set that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="icpc prepare", description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("options", nargs=argparse.REMAINDER)
    args = parser.parse_args(arguments)
    module = importlib.import_module(f"icpc_d2.tools.prepare.{args.set}")
    if args.set == "isaid":
        return module.main(args.options)
    (preparation,) = (value for value in vars(module).values() if isinstance(value, module.Preparation))
    return module.main(preparation, args.options)
