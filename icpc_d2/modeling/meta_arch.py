"""ICPC: instance-conditioned prompting with contrastive learning, the paper's Figure 2. Read this page first.

Shapes: B images, K classes, C joint embedding width, H x W pixels.
"""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

from icpc_d2.modeling import build
from icpc_d2.modeling.segmentor import Segmentor

# The features of images (res2..res5, global_embed, dense_embed) and their score maps A by level.
Encoded = tuple[dict[str, Tensor], Mapping[str, Tensor]]


@META_ARCH_REGISTRY.register()
class ICPC(Segmentor, nn.Module):
    """A semantic segmentor with the inputs and outputs of Detectron2's `SemanticSegmentor`."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        prompt: nn.Module,
        class_tokens: nn.Module,
        text_encoder: nn.Module,
        context_decoder: nn.Module,
        alignment: nn.Module,
        neck: nn.Module,
        sem_seg_head: nn.Module,
        alignment_loss: nn.Module,
        max_iter: int,
        predict_from: str = "decoder",
        **inference: Any,
    ) -> None:
        """
        Args:
            backbone: gives res2..res5, ``global_embed`` and ``dense_embed``.
            prompt: one of `icpc_d2.modeling.text.prompts`.
            neck: maps (features, scores) to the maps that `sem_seg_head` takes.
            sem_seg_head: as Detectron2's `SemSegFPNHead`; its ``layers`` give the logits before they are up-sampled.
            max_iter: T of Eq. 7.
            predict_from: "decoder", or "alignment" for the first of the supervised score maps (Table 11).
            inference: of :meth:`icpc_d2.modeling.segmentor.Segmentor.configure_inference`.
        """
        super().__init__()
        self.backbone = backbone
        self.prompt = prompt
        self.class_tokens = class_tokens
        self.text_encoder = text_encoder
        self.context_decoder = context_decoder
        self.alignment = alignment
        self.neck = neck
        self.sem_seg_head = sem_seg_head
        self.alignment_loss = alignment_loss
        self.max_iter = max_iter
        self.predict_from = predict_from
        build.check_parts(self)
        self.configure_inference(**inference)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Build all parts; see `icpc_d2.modeling.build`."""
        return {**build.build_parts(cfg), **build.build_settings(cfg)}

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Train or predict.

        Args:
            batched_inputs: one dict per image:

                * "image": (3, H, W), any size, values 0..255, channels in the order of `pixel_mean`.
                * "sem_seg" (training): (H, W) int64, class ids or the head's ignore value (65535 is ignored too).
                * "height", "width" (optional): size of the prediction; that of the image if absent.

        Returns:
            In training the losses by name. Else a list of {"sem_seg": (K, height, width)} with logits.
        """
        if not self.training:
            return self.logits(batched_inputs)
        encoded = self.encode(self.preprocess_image(batched_inputs).tensor)
        return self.losses(encoded, self.preprocess_labels(batched_inputs))

    def encode(self, images: Tensor) -> Encoded:
        """Encode normalized images (B, 3, H, W), of 32 pixels a side or more, and compare them with the class names."""
        features = self.backbone(images)
        global_embed, dense_embed = features["global_embed"], features["dense_embed"]
        text = self.text_encoder(self.class_tokens, self.prompt(global_embed))  # Eq. 2, 3
        text = self.context_decoder(text, global_embed, dense_embed)  # Eq. 4, (B, K, C)
        return features, self.alignment(dense_embed, text)  # Eq. 5, 8

    def decode(self, encoded: Encoded) -> Tensor:
        """Compute the decoder's logits (B, K, H / 4, W / 4)."""
        return self.sem_seg_head.layers(self.neck(encoded))

    def losses(self, encoded: Encoded, labels: Tensor) -> dict[str, Tensor]:
        """Compute the three terms of Eq. 9, weighted, for labels (B, H, W)."""
        features, scores = encoded
        maps = [scores[level] for level in self.alignment_loss.levels]
        _, losses = self.sem_seg_head(self.neck((features, scores)), labels)
        return losses | self.alignment_loss(maps, labels, self.progress())

    def progress(self) -> float:
        """Return t / T of Eq. 7, by the trainer's own count, which goes on after a resume; 0 outside of a trainer."""
        return min(1.0, get_event_storage().iter / self.max_iter) if has_event_storage() else 0.0

    def predict(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to logits (B, K, H / stride, W / stride), rounded."""
        features, scores = self.encode(images)
        if self.predict_from == "decoder":
            return self.decode((features, scores))
        return scores[self.alignment_loss.levels[0]] / self.alignment_loss.temperature
