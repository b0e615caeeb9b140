"""Label maps instead of logits, for evaluators that can take them."""

from typing import Any

from torch import Tensor, nn


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
