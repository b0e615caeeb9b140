"""The computation of an exported file: from the pixels of a window, as they are, to its logits or labels.

Shapes: K classes, H x W pixels.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling import ICPC
from icpc_d2.modeling.open_vocabulary import score_map_of
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.modeling.text.prompts import Context


class WindowGraph(nn.Module):
    """A segmentor on one image of H x W pixels, or one window of it: uint8 RGB (1, 3, H, W) in, logits or labels out.

    Attributes:
        output_names: of what it returns, in this order.
    """

    def __init__(
        self,
        model: Segmentor,
        image_format: str = "RGB",
        class_names: Sequence[str | Sequence[str]] | None = None,
        labels: bool = False,
        alignment: bool = False,
        half: bool = False,
    ) -> None:
        """
        Args:
            model: in eval mode; a copy of it is kept.
            image_format: "RGB" or "BGR", of the model.
            class_names: of other classes than the model's, one or several of each, predicted from the alignment.
            labels: whether to return label maps (1, H, W) int64 in place of logits (1, K, H, W) float32.
            alignment: whether to return A / temperature, (1, K, H, W) float32, beside the logits.
            half: whether to compute in half precision, all but the normalization.

        Raises:
            ValueError: the model is no segmentor of ours, or has no alignment, but that is asked for.
        """
        super().__init__()
        if not isinstance(model, Segmentor):
            raise ValueError(
                f"META_ARCHITECTURE is {type(model).__name__}; what is exported is 'ICPC' or 'SemanticFPN'."
            )
        if (alignment or class_names is not None) and not isinstance(model, ICPC):
            raise ValueError("this model compares no text with images: it has no alignment, and its own classes alone.")
        self.register_buffer("pixel_mean", model.pixel_mean.clone())
        self.register_buffer("pixel_std", model.pixel_std.clone())
        self.image_format, self.labels, self.alignment = image_format, labels, alignment
        self.other_classes = class_names is not None
        model = copy.deepcopy(model)
        if isinstance(model, ICPC):
            if class_names is not None:
                model.class_tokens = model.class_tokens.renamed(class_names)
            fold_text(model)
        self.dtype = torch.float16 if half else torch.float32
        self.model = model.to(self.dtype)
        self.output_names = ["labels" if labels else "logits"] + ["alignment"] * alignment
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predict uint8 RGB (1, 3, H, W)."""
        height, width = image.shape[-2:]
        pixels = image if self.image_format == "RGB" else image.flip(1)
        pixels = ((pixels - self.pixel_mean) / self.pixel_std).to(self.dtype)
        divisor, smallest = self.model.divisor, self.model.backbone.size_divisibility
        # As `windows.pad`, but of positive numbers alone: what ONNX does with negative ones is not Python's.
        padded = tuple((side + divisor - 1) // divisor * divisor for side in (height, width))
        if divisor < smallest:
            padded = tuple(torch.sym_max(smallest, side) for side in padded)  # max() would be answered while recording
        pixels = F.pad(pixels, (0, padded[1] - width, 0, padded[0] - height))
        maps = [
            F.interpolate(coarse, size=padded, mode="bilinear", align_corners=False)[:, :, :height, :width].float()
            for coarse in self._predict(pixels)
        ]
        return (maps[0].argmax(dim=1) if self.labels else maps[0], *maps[1:])

    def _predict(self, pixels: Tensor) -> list[Tensor]:
        """Return coarse logits (1, K, h, w) and, if asked for, the coarse alignment."""
        model = self.model
        if not isinstance(model, ICPC):
            return [model.predict(pixels)]
        temperature = model.alignment_loss.temperature
        if self.other_classes:
            logits = score_map_of(model, pixels, model.class_tokens) / temperature
            return [logits] * (1 + self.alignment)
        encoded = model.encode(pixels)
        if model.predict_from == "decoder":
            logits = model.decode(encoded)
            return [logits, encoded[1][model.alignment_loss.levels[0]] / temperature] if self.alignment else [logits]
        return [encoded[1][model.alignment_loss.levels[0]] / temperature] * (1 + self.alignment)


class FoldedText(nn.Module):
    """Text embeddings (1, K, C) that no image changes, in place of the encoder that made them."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)

    def forward(self, tokens: nn.Module, context: Context) -> Tensor:
        """Return the embeddings, whatever the arguments."""
        return self.embeddings


@torch.no_grad()
def fold_text(model: ICPC) -> None:
    """Compute what no image changes, and drop what is then of no use; in place.

    That is the whole text encoder where the prompt holds nothing of an image, and elsewhere the embeddings of all words
    but those of the classes.
    """
    encoder, tokens = model.text_encoder, model.class_tokens
    channels = encoder.text_projection.shape[1]
    context = model.prompt(encoder.text_projection.new_zeros(1, channels))
    if context.per_image is None:
        model.text_encoder = FoldedText(encoder(tokens, context).clone())
        return
    buffers = {name: ids for name, ids in tokens.named_buffers() if name in ("prefix", "ids", "packed_ids")}
    used = torch.cat([ids.flatten() for ids in buffers.values()]).unique()
    encoder.token_embedding = nn.Embedding.from_pretrained(encoder.token_embedding.weight[used].clone())
    for name, ids in buffers.items():
        setattr(tokens, name, torch.searchsorted(used, ids))
