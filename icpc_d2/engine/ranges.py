"""The values that a run's keys may have: what would end it hours later, or spoil it without a word, is refused.

Not in `icpc_d2.config`, which imports nothing of ours: some ranges are what parts of `icpc_d2.data` take.
"""

import math
from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode

from icpc_d2.config.load import ConfigError, leaves
from icpc_d2.data.class_frequency import REPEAT_SAMPLER
from icpc_d2.data.pixels import is_value_range
from icpc_d2.data.resizing import METHODS

Rule = tuple[Callable[[Any], bool], str]  # what a value must be, and that in words


def _at_least(smallest: int) -> Rule:
    return lambda n: n >= smallest, f"{smallest} or more"


# NaN is in none of these ranges.
ABOVE_ZERO: Rule = (lambda x: 0 < x < math.inf, "a number above 0")
FROM_ZERO: Rule = (lambda x: 0 <= x < math.inf, "a number of 0 or more")
BELOW_ONE: Rule = (lambda x: 0 <= x < 1, "a number from 0 to below 1")

# Key -> its rule.
RANGES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("SOLVER.MAX_ITER", "SOLVER.IMS_PER_BATCH", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.ACCUMULATE"),
            *("INPUT.MAX_SIZE_TEST", "INPUT.MAX_SIZE_TRAIN", "MODEL.PROMPT.PROJECTOR_REDUCTION"),
            *("MODEL.CONTEXT_DECODER.WIDTH", "MODEL.CONTEXT_DECODER.NUM_HEADS", "MODEL.SEM_SEG_HEAD.CONVS_DIM"),
        ),
        _at_least(1),
    ),
    **dict.fromkeys(
        (
            *("TEST.EVAL_PERIOD", "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINTS_KEPT", "SOLVER.SKIP_NON_FINITE"),
            *("SOLVER.WARMUP_ITERS", "MODEL.PROMPT.NUM_CONTEXT", "MODEL.TEXT_ENCODER.MEMORY"),
            *("MODEL.CLIP.IMAGE_SIZE", "MODEL.CONTEXT_DECODER.NUM_LAYERS", "TEST.SEM_SEG.NUM_PICTURES"),
        ),
        _at_least(0),
    ),
    **dict.fromkeys(
        (
            *("SOLVER.BASE_LR", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE"),
            *("MODEL.ALIGNMENT.TEMPERATURE", "MODEL.CONTRASTIVE.TEMPERATURE"),
        ),
        ABOVE_ZERO,
    ),
    **dict.fromkeys(
        (
            *("SOLVER.BACKBONE_MULTIPLIER", "SOLVER.WEIGHT_DECAY", "SOLVER.WARMUP_FACTOR"),
            *("SOLVER.POLY_END_LR", "SOLVER.POLY_POWER"),  # a power of 0 keeps the rate
            *("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "MODEL.ALIGNMENT.LOSS_WEIGHT", "MODEL.CONTRASTIVE.LOSS_WEIGHT"),
        ),
        FROM_ZERO,
    ),
    **dict.fromkeys(
        ("MODEL.SEM_SEG_HEAD.DROPOUT", "MODEL.CONTEXT_DECODER.DROPOUT", "MODEL.CLIP.VIT_DROP_PATH"), BELOW_ONE
    ),
    "MODEL.CONTEXT_DECODER.LAMBDA": (math.isfinite, "a finite number"),
    "MODEL.CONTRASTIVE.NUM_POINTS": (lambda n: n >= 2, "2 or more: a point by itself has no other of its class"),
    "MODEL.PROMPT.TEMPLATE": (lambda text: text.count("{}") == 1, "a text with one {}, where the name stands"),
    "MODEL.PIXEL_MEAN": (lambda v: len(v) == 3 and all(map(math.isfinite, v)), "three numbers"),
    "MODEL.PIXEL_STD": (lambda v: len(v) == 3 and all(0 < x < math.inf for x in v), "three numbers above 0"),
    "MODEL.BACKBONE.FREEZE_AT": (lambda n: 0 <= n <= 5, "0 (all trains) to 5 (the stem and res2..res5 do not)"),
    "INPUT.FORMAT": (lambda name: name in ("RGB", "BGR"), "RGB or BGR"),
    "INPUT.RESIZE": (lambda name: name in METHODS, "opencv or pillow"),
    "INPUT.ON_BAD_FILE": (lambda name: name in ("raise", "skip"), "raise or skip"),
    "INPUT.RANDOM_FLIP": (lambda name: name in ("horizontal", "vertical", "none"), "horizontal, vertical or none"),
    "INPUT.MIN_SIZE_TEST": (lambda n: n >= 0, "1 pixel or more, or 0 for images as they are"),
    "INPUT.MIN_SIZE_TRAIN": (
        lambda sizes: len(sizes) == 1 and sizes[0] >= 1,
        "one size of 1 or more; INPUT.SCALE_RANGE is what the scale of a training image is drawn from",
    ),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": (lambda x: 0 < x <= 1, "a share above 0, up to 1"),
    "INPUT.VALUE_RANGE": (
        lambda ends: not ends or is_value_range(ends),
        "the values of black and of white, as [0, 4095], or none",
    ),
    "DATASETS.SUFFIXES": (
        lambda ends: not ends or (len(ends) == 2 and all(isinstance(end, str) for end in ends)),
        "the suffixes of images and of label maps, as ['_leftImg8bit', '_gtFine_labelIds'], or none",
    ),
    "INPUT.SCALE_RANGE": (lambda r: len(r) == 2 and 0 < r[0] <= r[1] < math.inf, "two factors above 0, in order"),
}


def check_ranges(cfg: CfgNode) -> None:
    """Check the values of a run; a ConfigError names the one that is out of range."""
    values = dict(leaves(cfg))
    for key, (is_right, wanted) in RANGES.items():
        if not is_right(values[key]):
            raise ConfigError(f"{key} is {values[key]!r}, wanted {wanted}.")
    sampler, threshold = cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.REPEAT_THRESHOLD
    if not (0 < threshold <= 1 if sampler == REPEAT_SAMPLER else threshold == 0):
        raise ConfigError(
            f"DATALOADER.REPEAT_THRESHOLD is {threshold:g} and DATALOADER.SAMPLER_TRAIN {sampler!r}; wanted is a "
            f"threshold above 0, up to 1, for {REPEAT_SAMPLER!r} (the share of images below which a class is rare), "
            "and 0 for another sampler."
        )
    size = cfg.INPUT.CROP.SIZE
    if cfg.INPUT.CROP.ENABLED and not (len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size)):
        raise ConfigError(f"INPUT.CROP.SIZE is {size!r}, wanted height and width in pixels, as [512, 512].")
