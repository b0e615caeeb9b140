"""Detectron2's keys that something here reads. The others would do nothing when they are set: they are refused."""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from detectron2.config import CfgNode, get_cfg

from icpc_d2.config.load import ConfigError, leaves

# The parts of a model whose readers are known; what other projects register may read any key below MODEL.
META_ARCHITECTURES = ("ICPC", "SemanticFPN", "SemanticSegmentor")
HEADS = ("SemanticFPNHead", "SemSegFPNHead")
CLIP_ENCODERS = ("build_clip_resnet_backbone", "build_clip_vit_backbone")
RESNETS = ("build_pooled_resnet_backbone", "build_resnet_deeplab_backbone", "build_resnet_backbone")
RESNET_FPN = "build_resnet_fpn_backbone"  # Detectron2's

READ = (
    *("VERSION", "OUTPUT_DIR", "SEED", "CUDNN_BENCHMARK", "DATASETS.TRAIN", "DATASETS.TEST"),
    *("DATALOADER.NUM_WORKERS", "DATALOADER.SAMPLER_TRAIN", "DATALOADER.REPEAT_*", "DATALOADER.RANDOM_SUBSET_RATIO"),
    *("INPUT.FORMAT", "INPUT.M??_SIZE_TRAIN", "INPUT.M??_SIZE_TEST", "INPUT.RANDOM_FLIP"),
    *("INPUT.CROP.ENABLED", "INPUT.CROP.SIZE", "MODEL.META_ARCHITECTURE", "MODEL.DEVICE", "MODEL.WEIGHTS"),
    *("MODEL.PIXEL_*", "MODEL.BACKBONE.*", "MODEL.FPN.*", "MODEL.SEM_SEG_HEAD.*"),
    *("SOLVER.AMP.*", "SOLVER.BASE_LR", "SOLVER.BIAS_LR_FACTOR", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.CLIP_GRADIENTS.*"),
    *("SOLVER.IMS_PER_BATCH", "SOLVER.LR_SCHEDULER_NAME", "SOLVER.MAX_ITER", "SOLVER.REFERENCE_WORLD_SIZE"),
    *("SOLVER.RESCALE_INTERVAL", "SOLVER.WARMUP_*", "SOLVER.WEIGHT_DECAY*"),
    *("TEST.AUG.ENABLED", "TEST.AUG.FLIP", "TEST.EVAL_PERIOD", "TEST.EXPECTED_RESULTS", "TEST.PRECISE_BN.*"),
)


def _has_resnet(cfg: CfgNode) -> bool:
    return encoder_of(cfg) not in CLIP_ENCODERS


def _has_scheduler(*names: str) -> Callable[[CfgNode], bool]:
    return lambda cfg: cfg.SOLVER.LR_SCHEDULER_NAME in names


# Keys that are read for some values of another one: when, and which.
READ_IF: dict[str, tuple[Callable[[CfgNode], bool], str]] = {
    "MODEL.RESNETS.*": (_has_resnet, "CLIP's image encoders are built by MODEL.CLIP; ImageNet ResNets read it"),
    "SOLVER.MOMENTUM": (lambda cfg: cfg.SOLVER.OPTIMIZER == "SGD", "SOLVER.OPTIMIZER SGD reads it"),
    "SOLVER.NESTEROV": (lambda cfg: cfg.SOLVER.OPTIMIZER == "SGD", "SOLVER.OPTIMIZER SGD reads it"),
    "SOLVER.STEPS": (_has_scheduler("WarmupMultiStepLR"), "SOLVER.LR_SCHEDULER_NAME WarmupMultiStepLR reads it"),
    "SOLVER.GAMMA": (
        _has_scheduler("WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"),
        "SOLVER.LR_SCHEDULER_NAME WarmupMultiStepLR reads it",
    ),
    "SOLVER.NUM_DECAYS": (
        _has_scheduler("WarmupStepWithFixedGammaLR"),
        "SOLVER.LR_SCHEDULER_NAME WarmupStepWithFixedGammaLR reads it",
    ),
    "SOLVER.BASE_LR_END": (
        _has_scheduler("WarmupCosineLR", "WarmupStepWithFixedGammaLR"),
        "SOLVER.LR_SCHEDULER_NAME WarmupCosineLR reads it; SOLVER.POLY_END_LR is what WarmupPolyLR ends at",
    ),
}
# Keys that nothing reads, because they have but one meaning here: the value that says it, besides Detectron2's default.
ONE_VALUE: dict[str, Any] = {"DATALOADER.FILTER_EMPTY_ANNOTATIONS": False, "INPUT.CROP.TYPE": "absolute"}
INSTEAD = {
    "TEST.AUG.MIN_SIZES": "TEST.AUG.SCALES has the sizes of test-time augmentation",
    "TEST.AUG.MAX_SIZE": "INPUT.MAX_SIZE_TEST, times TEST.AUG.SCALES, has the longest side",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "INPUT.SCALE_RANGE has the scales of training images",
    "INPUT.CROP.TYPE": "crops are of INPUT.CROP.SIZE pixels: 'absolute'",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "images are never left out",
}


def check_detectron2_keys(cfg: CfgNode) -> None:
    """Refuse keys of Detectron2 that are set to something else than its default, and that nothing would read.

    Raises:
        ConfigError: there is such a key; names it and what is read in its place.
    """
    is_known = cfg.MODEL.META_ARCHITECTURE in META_ARCHITECTURES and cfg.MODEL.SEM_SEG_HEAD.NAME in HEADS
    is_known &= encoder_of(cfg) in (*CLIP_ENCODERS, *RESNETS, RESNET_FPN)
    values = dict(leaves(cfg))
    for key, default in leaves(get_cfg()):
        defaults = [_as_lists(default), ONE_VALUE.get(key, _as_lists(default))]
        if _as_lists(values[key]) in defaults or (key.startswith("MODEL.") and not is_known):
            continue
        advice = why_unread(key, cfg)
        if advice is not None:
            raise ConfigError(
                f"{key} is {values[key]!r}, but nothing here reads this key of Detectron2: {advice}. Leave it at "
                f"{default!r}."
            )
    if cfg.INPUT.CROP.ENABLED and ONE_VALUE["INPUT.CROP.TYPE"] != cfg.INPUT.CROP.TYPE:
        raise ConfigError(
            f"INPUT.CROP.TYPE is {cfg.INPUT.CROP.TYPE!r}, wanted 'absolute': {INSTEAD['INPUT.CROP.TYPE']}."
        )


def _as_lists(value: Any) -> Any:
    """Turn tuples into lists, at all depths: a config that was written to a file comes back so."""
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def why_unread(key: str, cfg: CfgNode) -> str | None:
    """Return why a key of Detectron2 does nothing with this config; None: it does something."""
    for pattern, (is_read, advice) in READ_IF.items():
        if fnmatch(key, pattern):
            return None if is_read(cfg) else advice
    if any(fnmatch(key, pattern) for pattern in READ):
        return None
    return INSTEAD.get(key, "it is for detection, or for another program's data")


def encoder_of(cfg: CfgNode) -> str:
    """Return the name of the image encoder: the backbone, or what is below our FPN."""
    name = cfg.MODEL.BACKBONE.NAME
    return cfg.MODEL.FPN.BOTTOM_UP if name == "build_fpn_backbone" else name
