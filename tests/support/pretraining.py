"""Settings of a pretraining that is over in a second."""

FEW_SCENES: dict[str, object] = {
    "PRETRAIN.NUM_SCENES": 8,
    "PRETRAIN.NUM_VAL_SCENES": 6,
    "PRETRAIN.SIZE": "[32,64]",
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.MAX_ITER": 4,
    "SOLVER.WARMUP_ITERS": 1,
    "SOLVER.CHECKPOINT_PERIOD": 2,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
}
