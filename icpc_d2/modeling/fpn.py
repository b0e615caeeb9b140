"""Detectron2's FPN for maps of any size, and how its convolutions start."""

from collections.abc import Sequence
from typing import Any

from detectron2.modeling import Backbone
from detectron2.modeling.backbone import FPN
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor

from icpc_d2.modeling.resizing import resize_to


class AnySizeFPN(FPN):
    """Detectron2's FPN, whose maps need not be twice as large from level to level."""

    any_size = True

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        norm: str = "",
        fuse_type: str = "sum",
        init: str = "detectron2",
    ) -> None:
        """
        Args:
            bottom_up, in_features, out_channels, norm, fuse_type: as Detectron2's `FPN`.
            init: "detectron2", or "denseclip": normal with the variance 2 / (outputs * kernel area), biases of 0.
        """
        super().__init__(bottom_up, list(in_features), out_channels, norm=norm, fuse_type=fuse_type)
        if init == "denseclip":
            for conv in (*self.lateral_convs, *self.output_convs):
                c2_msra_fill(conv)

    def forward(self, x: Any) -> dict[str, Tensor]:
        """Map what `bottom_up` takes to "p2" to "p5", each (B, out_channels, h, w)."""
        maps = self.bottom_up(x)
        outputs, above = [], None
        for level, lateral, output in zip(self.in_features[::-1], self.lateral_convs, self.output_convs, strict=True):
            current = lateral(maps[level])
            if above is not None:
                current = current + resize_to(above, current.shape[2:], mode="nearest")
                current = current / 2 if self._fuse_type == "avg" else current
            outputs.append(output(current))
            above = current
        return dict(zip(self._out_features, reversed(outputs), strict=True))
