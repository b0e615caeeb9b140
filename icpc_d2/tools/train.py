"""Train by a config file.

    icpc train --config-file configs/quickstart/icpc_tiny.yaml
    icpc train --config-file configs/ade20k/icpc_R50.yaml --num-gpus 8

It is train_net.py for installed packages, which have no such file.
"""

from collections.abc import Sequence

from icpc_d2.engine import launch
from icpc_d2.engine.main import main as run
from icpc_d2.engine.main import parse_args


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    launch(run, parse_args(arguments, "icpc train", __doc__))


if __name__ == "__main__":
    main()
