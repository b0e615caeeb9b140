"""How much the pixels of each class count in a model's losses, from the config."""

import math

from detectron2.config import CfgNode

from icpc_d2.modeling.class_names import get_class_names

# What MODEL.CLASS_WEIGHTS may say in place of numbers, which are then found when a training starts.
MEDIAN_FREQUENCY = "median_frequency"


def get_class_weights(cfg: CfgNode) -> list[float]:
    """Return ``MODEL.CLASS_WEIGHTS``, a number for each class; empty: all pixels count alike.

    Raises:
        ValueError: it is of another length than the class names, has other values than numbers of 0 or more, or none
            above 0.
    """
    weights = list(cfg.MODEL.CLASS_WEIGHTS)
    if not weights:
        return []
    if weights == [MEDIAN_FREQUENCY]:
        raise ValueError(
            f"MODEL.CLASS_WEIGHTS is {MEDIAN_FREQUENCY!r}, which is turned into numbers where a training starts "
            "(icpc_d2.engine.setup, and config.yaml has them); here wanted are numbers, or [] for none"
        )
    names = get_class_names(cfg)
    is_number = [isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights]
    if not all(is_number) or len(weights) != len(names):
        raise ValueError(
            f"MODEL.CLASS_WEIGHTS has {len(weights)} values, {weights}; wanted are {len(names)} numbers, one for each "
            f"of {', '.join(names)}, or {MEDIAN_FREQUENCY!r}"
        )
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"MODEL.CLASS_WEIGHTS is {weights}; wanted are numbers of 0 or more, at least one above 0")
    return [float(weight) for weight in weights]
