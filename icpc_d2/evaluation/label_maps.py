"""What evaluations run in place of a model: label maps instead of logits, and several scales."""

from typing import Any

from detectron2.config import CfgNode
from torch import Tensor, nn

from icpc_d2.evaluation.multi_scale import MultiScale
from icpc_d2.modeling.predictions import LazyScores


class LabelMaps(nn.Module):
    """Stands in for a model whose ``label_maps`` answers, so that the model's own contract stays what it is."""

    def __init__(self, model: nn.Module) -> None:
        """
        Args:
            model: as `icpc_d2.modeling.meta_arch.ICPC`.
        """
        super().__init__()
        self.model = model

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Inputs as the model takes them -> a list of {"labels": (height, width) int64}."""
        return self.model.label_maps(batched_inputs)


class Predictions(LabelMaps):
    """As :class:`LabelMaps`, for evaluators that choose among some of the classes: they make the label maps."""

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, LazyScores]]:
        """Inputs as the model takes them -> a list of {"prediction": ...}."""
        return [{"prediction": prediction} for prediction in self.model.predictions(batched_inputs)]


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
        model = MultiScale(
            model,
            short_side=cfg.INPUT.MIN_SIZE_TEST,
            max_long_side=cfg.INPUT.MAX_SIZE_TEST,
            scales=cfg.TEST.AUG.SCALES,
            mirror=cfg.TEST.AUG.FLIP,
        )
    if not cfg.TEST.SEM_SEG.LABEL_MAPS or not hasattr(model, "label_maps"):
        return model
    return Predictions(model) if cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES else LabelMaps(model)
