"""Evaluate a checkpoint by a config file.

    icpc evaluate --config-file configs/ade20k/icpc_R50.yaml MODEL.WEIGHTS output/model_final.pth
    icpc evaluate MODEL.WEIGHTS model.safetensors  # of `icpc convert model`, which holds its config

It is train_net.py with --eval-only.
"""

from collections.abc import Sequence

from icpc_d2.engine import launch
from icpc_d2.engine.main import main as run
from icpc_d2.engine.main import parse_args


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    launch(run, parse_args(arguments, "icpc evaluate", __doc__, eval_only=True))


if __name__ == "__main__":
    main()
