"""Convert a downloaded data set to the layout that Detectron2 reads.

    icpc prepare camvid
    icpc prepare isaid --tile 896 --root /data/sets
    icpc prepare ade20k --check

icpc_d2/data/README.md shows both layouts. A run that was interrupted is continued by the next one.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from icpc_d2.data.datasets import datasets_root
from icpc_d2.tools.prepare.ade20k import ADE20K, ADE20K_FULL
from icpc_d2.tools.prepare.camvid import CAMVID
from icpc_d2.tools.prepare.cityscapes import CITYSCAPES
from icpc_d2.tools.prepare.coco_stuff import COCO_STUFF_10K, COCO_STUFF_164K
from icpc_d2.tools.prepare.isaid import ISAID, prepare_isaid
from icpc_d2.tools.prepare.run import run
from icpc_d2.tools.prepare.voc import PASCAL_CONTEXT, VOC

SETS = {
    "ade20k": ADE20K,
    "ade20k_full": ADE20K_FULL,
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "coco_stuff_10k": COCO_STUFF_10K,
    "coco_stuff_164k": COCO_STUFF_164K,
    "isaid": ISAID,
    "pascal_context": PASCAL_CONTEXT,
    "voc": VOC,
}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="icpc prepare",
        description=__doc__,
        epilog="\n".join(["sets:", *(f"  {name:<17}{preparation.name}" for name, preparation in SETS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET", help="the data set; SET --help says more")
    for name, preparation in SETS.items():
        one = sets.add_parser(name, description=f"Prepare {preparation.name} for Detectron2. {preparation.page}")
        one.add_argument("--root", type=Path, default=Path(datasets_root()), help="of all data sets (%(default)s)")
        one.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="files at a time (%(default)s)")
        one.add_argument("--check", action="store_true", help="convert nothing, read every prepared label map")
        one.add_argument("--strict", action="store_true", help="counts that differ from the official ones are errors")
        if name == "isaid":
            one.add_argument("--tile", type=int, default=0, help="side of square tiles, usually 896; 0: whole images")
            one.add_argument("--overlap", type=int, default=384, help="of tiles, in pixels (%(default)s)")
    args = parser.parse_args(arguments)
    if args.set == "isaid" and args.tile and not 0 <= args.overlap < args.tile:
        parser.error(f"--overlap is {args.overlap}; wanted 0..{args.tile - 1}, less than --tile.")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 1 when there is an error, 0 when data are merely incomplete."""
    args = parse_args(arguments)
    return prepare_isaid(args) if args.set == "isaid" else run(SETS[args.set], args)
