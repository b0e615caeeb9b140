"""Detectron2's Semantic FPN head with dropout, for maps of any size, and a loss that is defined on every batch."""

from collections.abc import Callable, Mapping
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from torch import Tensor, nn

from icpc_d2.modeling.build import build_pixel_loss, read_decoder_init
from icpc_d2.modeling.class_names import get_class_names
from icpc_d2.modeling.compiled_method import CompiledMethod
from icpc_d2.modeling.losses import pixel_cross_entropy
from icpc_d2.modeling.resizing import resize_to


@SEM_SEG_HEADS_REGISTRY.register()
class SemanticFPNHead(CompiledMethod, SemSegFPNHead):
    """`SemSegFPNHead` with Dropout2d before the classifier; as many classes as there are class names."""

    # Not the losses, and not in the call alone: predictions ask for the layers by themselves.
    compiled_method = "layers"

    any_size = True

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        dropout: float = 0.1,
        pixel_loss: Callable[[Tensor, Tensor, int], Tensor] = pixel_cross_entropy,
        init: str = "detectron2",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            input_shape: of the FPN's maps.
            dropout: probability in [0, 1).
            pixel_loss: of logits, labels and the ignore value.
            init: "detectron2", whose classifier is normal, or "denseclip", whose is PyTorch's: uniform, its bias too.
            kwargs: of `SemSegFPNHead`.
        """
        super().__init__(input_shape=input_shape, **kwargs)
        self.pixel_loss = pixel_loss
        self.num_classes = self.predictor.out_channels
        if init == "denseclip":
            self.predictor.reset_parameters()
        else:
            # Detectron2 scales by the number of classes: few of them start with logits of about 10 and a loss of 8.
            nn.init.normal_(self.predictor.weight, std=0.01)
        self.predictor = nn.Sequential(nn.Dropout2d(dropout), self.predictor)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Read ``MODEL.SEM_SEG_HEAD``."""
        arguments = super().from_config(cfg, input_shape)
        return {
            **arguments,
            "num_classes": len(get_class_names(cfg)),
            "dropout": cfg.MODEL.SEM_SEG_HEAD.DROPOUT,
            "pixel_loss": build_pixel_loss(cfg),
            "init": read_decoder_init(cfg),
        }

    def layers(self, features: Mapping[str, Tensor]) -> Tensor:
        """Map the FPN's (B, channels, h, w) to logits (B, K, H / 4, W / 4), the size of its finest map."""
        total = None
        for name, head in zip(self.in_features, self.scale_heads, strict=True):
            scaled = head(features[name])
            total = scaled if total is None else total + resize_to(scaled, total.shape[2:])
        return self.predictor(total)

    def losses(self, predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Compare logits (B, K, H / 4, W / 4) with labels (B, H, W): ``loss_sem_seg``, L_seg of Eq. 9."""
        return {"loss_sem_seg": self.loss_weight * self.pixel_loss(predictions, targets, self.ignore_value)}
