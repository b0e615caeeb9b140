"""Predictions beyond a model's own logits: the alignment A beside them, and A of any class names (Table 11).

The decoder ends in a classifier of the training classes. A compares the image with text, and so can be had for any
names: the up-sampling of Eq. 8 has a channel per training class, but the cosines that it starts from have none.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from icpc_d2.modeling.meta_arch import ICPC
from icpc_d2.modeling.multi_scale import MultiScale
from icpc_d2.modeling.predictions import LazyLogits, LazyScores, View, Window
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.modeling.text.class_tokens import ClassTokens

PREDICT_FROM = ("decoder", "alignment")


class ModelOutput(NamedTuple):
    """Both predictions of a model for an image."""

    decision: LazyScores  # logits of whichever of the two was asked, or at several scales probabilities
    # A / temperature, of the same classes; None of a model that compares no text with images
    alignment: LazyScores | None


def predict_open(
    model: nn.Module, batched_inputs: list[dict[str, Any]], predict_from: str, tokens: ClassTokens | None = None
) -> list[ModelOutput]:
    """Predict a batch, in one pass through the image encoder.

    Args:
        model: ICPC, or any with the contract of Detectron2's `SemanticSegmentor`; at several scales, if it is wrapped.
        batched_inputs: as the model takes them.
        predict_from: "decoder" or "alignment".
        tokens: of other classes than the model's, from the alignment alone.

    Raises:
        ValueError: the decoder is asked about other classes, there is no alignment, or `predict_from` is unknown.
    """
    if predict_from not in PREDICT_FROM:
        raise ValueError(f"predict_from is {predict_from!r}; wanted is 'decoder' or 'alignment'")
    if isinstance(model, MultiScale):
        return [_predict_views(model, inputs, predict_from, tokens) for inputs in batched_inputs]
    if isinstance(model, ICPC):
        return _predict_icpc(model, batched_inputs, predict_from, tokens)
    if predict_from == "alignment" or tokens is not None:
        raise ValueError(f"{type(model).__name__} compares no text with images: it predicts its own classes alone")
    if isinstance(model, Segmentor):
        return [ModelOutput(decision, None) for decision in model.predictions(batched_inputs)]
    return [ModelOutput(_full_size(output["sem_seg"]), None) for output in model(batched_inputs)]


def _predict_views(
    model: MultiScale, inputs: dict[str, Any], predict_from: str, tokens: ClassTokens | None
) -> ModelOutput:
    decisions, alignments = [], []
    for images in model.views(inputs):
        outputs = predict_open(model.model, images, predict_from, tokens)
        for (decision, alignment), mirrored in zip(outputs, model.flips, strict=True):
            decisions.append(View(decision, mirrored))
            if alignment is not None:
                alignments.append(View(alignment, mirrored))
    averaged = decision.average(decisions)
    if alignment is decision:
        return ModelOutput(averaged, averaged)
    return ModelOutput(averaged, alignment.average(alignments) if alignments else None)


def _predict_icpc(
    model: ICPC, batched_inputs: list[dict[str, Any]], predict_from: str, tokens: ClassTokens | None
) -> list[ModelOutput]:
    if tokens is not None and predict_from == "decoder":
        raise ValueError(
            "the decoder's classifier is bound to the classes that it was trained for; other class names can only be "
            "predicted from the alignment: predict_from='alignment'"
        )
    maps: list[Tensor] = []

    def predict(images: Tensor) -> Tensor:
        if tokens is not None:
            scores = score_map_of(model, images, tokens)
            logits = None
        else:
            encoded = model.encode(images)
            logits = model.decode(encoded) if predict_from == "decoder" else None
            scores = encoded[1][model.alignment_loss.levels[0]]
        maps.append(scores / model.alignment_loss.temperature)
        return maps[-1] if logits is None else logits

    images = model.preprocess_image(batched_inputs)
    decisions = model.inference(images, batched_inputs, predict)
    if predict_from == "alignment":
        return [ModelOutput(decision, decision) for decision in decisions]
    # The same windows once more, with the maps that the first pass has left.
    left = iter(maps)
    alignments = model.inference(images, batched_inputs, lambda _: next(left))
    return list(map(ModelOutput, decisions, alignments))


def score_map_of(model: ICPC, images: Tensor, tokens: ClassTokens) -> Tensor:
    """Compare normalized images (B, 3, H, W) with other classes: cosines (B, K, H / stride, W / stride).

    At the level that the losses supervised first or, where its map is more than a cosine, the finest that is none.
    """
    features = model.backbone(images)
    global_embed, dense_embed = features["global_embed"], features["dense_embed"]
    text = model.context_decoder(model.text_encoder(tokens, model.prompt(global_embed)), global_embed, dense_embed)
    cosines = model.alignment.cosines(dense_embed, text)
    level = model.alignment_loss.levels[0]
    return cosines[level if level in cosines else min(cosines)]


def _full_size(logits: Tensor) -> LazyLogits:
    """Wrap logits (K, H, W) of a whole image."""
    size = tuple(logits.shape[1:])
    return LazyLogits([Window(logits, size, slice(0, size[0]), slice(0, size[1]))], size, size)
