"""The paper's recipe: AdamW, the image backbone at a tenth of the rate, linear warm-up, poly decay, 80,000 iterations.

``train`` has the keys that Detectron2's tools/lazyconfig_train_net.py reads.
"""

import torch
from detectron2.config import LazyCall as L
from detectron2.solver import get_default_optimizer_params

from icpc_d2.engine.solver import backbone_lr_factor, poly_schedule

train = dict(
    output_dir="output/lazy",
    # A checkpoint in the model's own names, as start.py of docs/lazyconfig.md makes it (`icpc convert` keeps CLIP's
    # names); "" is a random start.
    init_checkpoint="",
    max_iter=80000,
    amp=dict(enabled=False),
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=False),
    checkpointer=dict(period=8000, max_to_keep=3),
    eval_period=8000,
    log_period=20,
    device="cuda",
    seed=0,
)

optimizer = L(torch.optim.AdamW)(
    # `params.model` is set by the training script.
    params=L(get_default_optimizer_params)(
        base_lr="${..lr}",
        weight_decay="${..weight_decay}",
        weight_decay_norm=0.0,
        lr_factor_func=L(backbone_lr_factor)(multiplier=0.1),
    ),
    lr=1e-4,
    weight_decay=1e-4,
)

lr_multiplier = L(poly_schedule)(
    max_iter="${train.max_iter}",
    base_lr="${optimizer.lr}",
    end_lr=1e-6,
    power=0.9,
    warmup_iters=1500,
    warmup_factor=1e-6,
)
