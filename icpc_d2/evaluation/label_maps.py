"""Label maps in place of logits: the model as evaluations run it, and its output in each form."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from icpc_d2.data.augmentation import resizes_at_scales
from icpc_d2.modeling.multi_scale import MultiScale
from icpc_d2.modeling.predictions import LazyScores


class LabelMaps(nn.Module):
    """Wraps a model so that calling it returns label maps; its own forward is unchanged.

    Args:
        lazy: leave label maps to evaluators, which choose among some of the classes by a prediction's `labels`.
        with_predictions: return the predictions beside the label maps, for what else is asked of them, such as losses.
    """

    def __init__(self, model: nn.Module, lazy: bool = False, with_predictions: bool = False) -> None:
        super().__init__()
        self.model, self._lazy, self._with_predictions = model, lazy, with_predictions

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor | LazyScores]]:
        """Return {"labels": (height, width) int64}, {"prediction": ...} or both for each image of the batch."""
        if not (self._lazy or self._with_predictions):
            return self.model.label_maps(batched_inputs)
        predictions = self.model.predictions(batched_inputs)
        if self._lazy:
            return [{"prediction": prediction} for prediction in predictions]
        return [{"labels": prediction.labels(), "prediction": prediction} for prediction in predictions]


def as_evaluated(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Wrap a model as ``TEST`` wants it evaluated.

    Raises:
        ValueError: ``TEST.AUG`` is enabled for a model that gives nothing but logits.
    """
    if cfg.TEST.AUG.ENABLED:
        if not hasattr(model, "predictions"):
            raise ValueError(
                f"TEST.AUG.ENABLED needs a model that can be asked for predictions, {type(model).__name__} cannot: "
                "set it to False, or MODEL.META_ARCHITECTURE to 'ICPC' or 'SemanticFPN'."
            )
        sizes = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        model = MultiScale(model, resizes_at_scales(cfg.TEST.AUG.SCALES, *sizes, cfg.INPUT.RESIZE), cfg.TEST.AUG.FLIP)
    if not cfg.TEST.SEM_SEG.LABEL_MAPS or not hasattr(model, "label_maps"):
        return model
    lazy = bool(cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES)
    return LabelMaps(model, lazy, cfg.TEST.SEM_SEG.LOSS and hasattr(model, "predictions"))


def label_map(output: Mapping[str, Any], candidates: Sequence[int] | None = None) -> Tensor:
    """Turn a model's output into a label map (H, W) int64.

    Args:
        output: has "labels", a label map (H, W) of integers, or "prediction", whose `labels` makes one, or both; or
            "sem_seg", scores (K, H, W) or a label map.
        candidates: ids of the classes to choose from, ascending; None: all.

    Raises:
        ValueError: there are candidates, but the output is a label map already.
    """
    if "prediction" in output and ("labels" not in output or candidates is not None):
        return output["prediction"].labels(candidates)
    sem_seg = output["labels"] if "labels" in output else output["sem_seg"]
    if candidates is None:
        return (sem_seg.argmax(dim=0) if sem_seg.ndim == 3 else sem_seg).to(torch.int64)
    if sem_seg.ndim == 2:
        raise ValueError(
            "The model returns label maps, from which nothing can be chosen any more: set TEST.SEM_SEG.LABEL_MAPS "
            "to False, or leave 'shared' out of TEST.CROSS_DOMAIN.CANDIDATES."
        )
    ids = torch.tensor(candidates, device=sem_seg.device)
    return ids[sem_seg[ids].argmax(dim=0)]
