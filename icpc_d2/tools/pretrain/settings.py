"""The config of a pretraining: its keys, their ranges, and a refusal of all others, which would do nothing."""

from argparse import Namespace
from fnmatch import fnmatch

from detectron2.config import CfgNode, get_cfg

from icpc_d2.config import add_icpc_config, load_config
from icpc_d2.config.load import ConfigError, leaves
from icpc_d2.data.scenes.captioned import STYLES
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.engine.setup import open_run, start_run

META_ARCHITECTURE = "ContrastiveCLIP"
READ = (
    *("VERSION", "OUTPUT_DIR", "SEED", "CUDNN_BENCHMARK", "PRETRAIN.*", "DATALOADER.NUM_WORKERS", "TEST.EVAL_PERIOD"),
    *("MODEL.META_ARCHITECTURE", "MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.PIXEL_*", "MODEL.BACKBONE.*"),
    *("MODEL.CLIP.ARCH", "MODEL.CLIP.OUT_FEATURES", "MODEL.CLIP.IMAGE_SIZE", "MODEL.CLIP.VIT_DROP_PATH"),
    *("MODEL.CLIP.RESNET_NORM", "MODEL.CHANNELS_LAST", "INPUT.FORMAT", "WANDB.PROJECT"),
    *("SOLVER.AMP.*", "SOLVER.BASE_LR", "SOLVER.BASE_LR_END", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.CHECKPOINTS_KEPT"),
    *("SOLVER.CLIP_GRADIENTS.*", "SOLVER.IMS_PER_BATCH", "SOLVER.LR_SCHEDULER_NAME", "SOLVER.MAX_ITER"),
    *("SOLVER.POLY_*", "SOLVER.SKIP_NON_FINITE", "SOLVER.WARMUP_*", "SOLVER.WEIGHT_DECAY*", "SOLVER.RESCALE_INTERVAL"),
)


def read_settings(args: Namespace) -> CfgNode:
    """Read and check the config of a pretraining from the command line; start its logs and settle the rest.

    Raises:
        ConfigError: a key or value is wrong, or the key is none that a pretraining reads.
        ValueError, OSError: see :func:`icpc_d2.engine.setup.open_run`.
    """
    cfg = load_config(args.config_file, args.opts)
    check_settings(cfg)
    if args.eval_only and not cfg.MODEL.WEIGHTS:
        raise ConfigError("--eval-only: MODEL.WEIGHTS is empty, wanted is what is to be evaluated.")
    if args.pack and not cfg.PRETRAIN.NUM_VAL_SCENES:
        raise ConfigError("PRETRAIN.NUM_VAL_SCENES is 0, wanted 1 or more: --pack writes the figures into the card.")
    open_run(cfg, args)
    start_run(cfg, args)
    return cfg


def check_settings(cfg: CfgNode) -> None:
    """Raise a ConfigError for a key that a pretraining does not read, or a value that it cannot use."""
    if cfg.MODEL.META_ARCHITECTURE != META_ARCHITECTURE:
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE!r}, wanted {META_ARCHITECTURE!r}: "
            "`icpc pretrain` trains CLIP itself, by the configs in configs/pretrain/; `icpc train` all others."
        )
    defaults = get_cfg()
    add_icpc_config(defaults)
    for (key, value), (_, default) in zip(leaves(cfg), leaves(defaults), strict=True):
        if value != default and not any(fnmatch(key, pattern) for pattern in READ):
            raise ConfigError(f"{key} is {value!r}, but a pretraining does not read it. Leave it at {default!r}.")
    check_ranges(cfg)
    keys = cfg.PRETRAIN
    size_is_right = len(keys.SIZE) == 2 and all(isinstance(side, int) and side >= 32 for side in keys.SIZE)
    for key, is_right, wanted in (
        ("NUM_SCENES", keys.NUM_SCENES >= 1, "1 or more"),
        ("NUM_VAL_SCENES", keys.NUM_VAL_SCENES >= 0, "0 (no evaluation) or more"),
        ("SIZE", size_is_right, "height and width in pixels, each 32 or more, as [160, 208]"),
        ("STYLES", keys.STYLES and not set(keys.STYLES) - set(STYLES), f"one or more of {list(STYLES)}"),
        ("PAINTS", keys.PAINTS >= 1, "1 (no scene twice) or more"),
        ("CLOSE_UPS", keys.CLOSE_UPS >= 0, "0 (none) or more"),
        ("MIN_CROP", 0 < keys.MIN_CROP <= 1, "a share above 0, up to 1"),
        ("MAX_SENTENCES", keys.MAX_SENTENCES >= 1, "1 or more"),
        ("TEMPERATURE", 0.01 <= keys.TEMPERATURE <= 1, "0.01 (the lowest that CLIP allows) to 1"),
    ):
        if not is_right:
            raise ConfigError(f"PRETRAIN.{key} is {keys[key]!r}, wanted {wanted}.")
    if cfg.MODEL.BACKBONE.FREEZE_AT:
        raise ConfigError(f"MODEL.BACKBONE.FREEZE_AT is {cfg.MODEL.BACKBONE.FREEZE_AT}, wanted 0: all of CLIP trains.")
    if cfg.INPUT.FORMAT != "RGB":
        raise ConfigError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT!r}, wanted 'RGB', as CLIP's images are.")
    if sorted(cfg.MODEL.CLIP.OUT_FEATURES) != ["dense_embed", "global_embed"]:
        raise ConfigError(
            f"MODEL.CLIP.OUT_FEATURES is {cfg.MODEL.CLIP.OUT_FEATURES}, wanted ['global_embed', 'dense_embed']: the "
            "loss and A read these alone."
        )
