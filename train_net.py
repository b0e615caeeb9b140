#!/usr/bin/env python
"""Train or evaluate by a config file.

    python train_net.py --config-file configs/quickstart/icpc_tiny.yaml
    python train_net.py --config-file configs/ade20k/icpc_R50.yaml --num-gpus 8
    python train_net.py --config-file configs/ade20k/icpc_R50.yaml --eval-only MODEL.WEIGHTS output/model_final.pth

``KEY VALUE`` pairs at the end change the config. Without a GPU, ``--num-gpus N`` starts N processes on the CPU.
docs/distributed.md says how torchrun or SLURM start the processes.
"""

import icpc_d2  # noqa: F401  registers data sets, backbones and the meta-architecture
from icpc_d2.engine import launch
from icpc_d2.engine.main import main, parse_args

if __name__ == "__main__":
    launch(main, parse_args(epilog=__doc__))
