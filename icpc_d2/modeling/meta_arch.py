"""ICPC: instance-conditioned prompting with contrastive learning, the paper's Figure 2. Read this page first.

Shapes: B images, K classes, C joint embedding width, H x W pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from detectron2.structures import ImageList
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

from icpc_d2.modeling import build
from icpc_d2.modeling.alignment import ScoreMaps
from icpc_d2.modeling.losses import Candidates, ContrastiveLoss, pixel_cross_entropy
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.context_decoder import ContextDecoder
from icpc_d2.modeling.text.text_encoder import TextEncoder


class Encoded(NamedTuple):
    """What the decoder and the losses start from."""

    features: dict[str, Tensor]  # res2..res5, global_embed, dense_embed
    text: Tensor  # (B, K, C)
    scores: ScoreMaps  # A by level, (B, K, H / stride, W / stride)


@META_ARCH_REGISTRY.register()
class ICPC(Segmentor, nn.Module):
    """A semantic segmentor with the inputs and outputs of Detectron2's `SemanticSegmentor`."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        prompt: nn.Module,
        class_tokens: ClassTokens,
        text_encoder: TextEncoder,
        context_decoder: ContextDecoder,
        alignment: build.Alignment,
        neck: nn.Module,
        sem_seg_head: nn.Module,
        contrastive_loss: ContrastiveLoss | None,
        pixel_mean: list[float],
        pixel_std: list[float],
        align_weight: float = 0.4,
        align_temperature: float = 0.07,
        contrastive_weight: float = 0.5,
        loss_scales: list[str] | tuple[str, ...] = (),
        max_iter: int = 80000,
        predict_from: str = "decoder",
        window: tuple[int, int, int] | None = None,
    ) -> None:
        """
        Args:
            backbone: gives res2..res5, ``global_embed`` and ``dense_embed``.
            prompt: one of `icpc_d2.modeling.text.prompts`.
            neck: maps (features, scores) to the maps that `sem_seg_head` takes.
            sem_seg_head: as Detectron2's `SemSegFPNHead`; its ``layers`` give the logits before they are up-sampled.
            contrastive_loss: None leaves L_contrast out.
            pixel_mean, pixel_std: of the three channels, in the order of the input, 0..255.
            align_weight: weight of L_align.
            align_temperature: what cosines are divided by before a softmax.
            contrastive_weight: gamma.
            loss_scales: levels whose score maps L_align and L_contrast supervise (their mean); empty: the coarsest.
            max_iter: T of Eq. 7.
            predict_from: "decoder", or "alignment" for the score map of the first of `loss_scales` (Table 11).
            window: see :class:`icpc_d2.modeling.segmentor.Segmentor`.

        Raises:
            ValueError: for a level in `loss_scales` that has no score map, or an unknown `predict_from`.
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
        self.contrastive_loss = contrastive_loss
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.align_weight = align_weight
        self.align_temperature = align_temperature
        self.contrastive_weight = contrastive_weight
        self.loss_scales = tuple(loss_scales) or (alignment.coarsest,)
        self.max_iter = max_iter
        self.predict_from = predict_from
        self.window = window
        unknown = set(self.loss_scales) - set(alignment.levels)
        if unknown:
            raise ValueError(f"MODEL.ALIGNMENT.LOSS_SCALES has {sorted(unknown)}; there are {list(alignment.levels)}")
        if predict_from not in ("decoder", "alignment"):
            raise ValueError(f"MODEL.PREDICT_FROM is {predict_from!r}; wanted is 'decoder' or 'alignment'")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Build all parts; see `icpc_d2.modeling.build`."""
        return {**build.build_parts(cfg), **build.build_settings(cfg)}

    def forward(
        self, batched_inputs: list[dict[str, Any]], others: Sequence[Sequence[Candidates]] = ()
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Train or predict.

        Args:
            batched_inputs: one dict per image:

                * "image": (3, H, W), any size, values 0..255, channels in the order of `pixel_mean`.
                * "sem_seg" (training): (H, W) int64, class ids or the head's ignore value (65535 is ignored too).
                * "seed" (optional, training): decides which points a gathered contrastive loss draws from the image.
                * "height", "width" (optional): size of the prediction; that of the image if absent.

            others: for a gathered contrastive loss, the :meth:`candidates` of the other forward passes of a step.

        Returns:
            In training the losses by name. Else a list of {"sem_seg": (K, height, width)} with logits.
        """
        if not self.training:
            return self.logits(batched_inputs)
        encoded = self.encode(self.preprocess_image(batched_inputs).tensor)
        return self.losses(encoded, self.preprocess_labels(batched_inputs), seeds_of(batched_inputs), others)

    @torch.no_grad()
    def candidates(self, batched_inputs: list[dict[str, Any]]) -> list[Candidates]:
        """What a gathered contrastive loss draws from, for each of the maps that it supervises."""
        encoded = self.encode(self.preprocess_image(batched_inputs).tensor)
        labels, seeds = self.preprocess_labels(batched_inputs), seeds_of(batched_inputs)
        return [self.contrastive_loss.candidates(encoded.scores[level], labels, seeds) for level in self.loss_scales]

    def encode(self, images: Tensor, tokens: ClassTokens | None = None) -> Encoded:
        """Normalized images (B, 3, H, W), sides multiples of 32 -> features, text embeddings and their alignment.

        Args:
            tokens: of other classes than the model's; then only those score maps that are cosines can be asked for.
        """
        features = self.backbone(images)
        text = self.encode_text(features["global_embed"], features["dense_embed"], tokens)
        return Encoded(features, text, self.alignment(features["dense_embed"], text))

    def encode_text(self, global_embed: Tensor, dense_embed: Tensor, tokens: ClassTokens | None = None) -> Tensor:
        """(B, C) and (B, C, h, w) -> text embeddings (B, K, C): Eq. 2 and 3, the text encoder, Eq. 4."""
        text = self.text_encoder(self.class_tokens if tokens is None else tokens, self.prompt(global_embed))
        return self.context_decoder(text, global_embed, dense_embed)

    def decode(self, encoded: Encoded) -> Tensor:
        """Logits (B, K, H / 4, W / 4) of the decoder, for the model's own classes."""
        return self.sem_seg_head.layers(self.neck((encoded.features, encoded.scores)))

    def losses(
        self,
        encoded: Encoded,
        labels: Tensor,
        seeds: Sequence[int | None] = (),
        others: Sequence[Sequence[Candidates]] = (),
    ) -> dict[str, Tensor]:
        """The three terms of Eq. 9, weighted; labels (B, H, W), `seeds` and `others` as of `forward`."""
        # Maps that the losses need exist from here on, so that the neck starts from them.
        maps = [encoded.scores[level] for level in self.loss_scales]
        _, losses = self.sem_seg_head(self.neck((encoded.features, encoded.scores)), labels)
        ignore = self.sem_seg_head.ignore_value
        align = sum(pixel_cross_entropy(scores / self.align_temperature, labels, ignore) for scores in maps)
        losses["loss_align"] = self.align_weight / len(maps) * align
        if self.contrastive_loss is not None:
            contrast = sum(
                self.contrastive_loss(scores, labels, self.progress(), seeds, [other[i] for other in others])
                for i, scores in enumerate(maps)
            )
            losses["loss_contrast"] = self.contrastive_weight / len(maps) * contrast
        return losses

    def progress(self) -> float:
        """t / T of Eq. 7 by the trainer's own count, which goes on after a resume; 0 outside of a trainer."""
        return min(1.0, get_event_storage().iter / self.max_iter) if has_event_storage() else 0.0

    def predict(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W), sides multiples of 32 -> logits (B, K, H / stride, W / stride)."""
        encoded = self.encode(images)
        if self.predict_from == "decoder":
            return self.decode(encoded)
        return encoded.scores[self.loss_scales[0]] / self.align_temperature

    def preprocess_labels(self, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """Pad and batch the labels (B, H, W) as the images are, with the ignore value."""
        ignore, backbone = self.sem_seg_head.ignore_value, self.backbone
        labels = [inputs["sem_seg"].to(self.device) for inputs in batched_inputs]
        # 65535 is the ignore value of 16-bit label files.
        labels = [label.masked_fill(label == 65535, ignore) for label in labels]
        return ImageList.from_tensors(labels, backbone.size_divisibility, ignore, backbone.padding_constraints).tensor


def seeds_of(batched_inputs: list[dict[str, Any]]) -> list[int | None]:
    """The seeds that samples bring along; None for those without."""
    return [inputs.get("seed") for inputs in batched_inputs]
