"""What a trained model says of images beyond its logits: the alignment A too, and A for any class names (Table 11).

The decoder ends in a classifier of the training classes. A compares the image with text, and so can be had for any
words: the up-sampling of Eq. 8 has a channel per training class, but the cosines that it starts from have none.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from icpc_d2.modeling.alignment import ScoreMaps
from icpc_d2.modeling.inference import Prediction, Window
from icpc_d2.modeling.meta_arch import ICPC
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.modeling.text.class_tokens import ClassTokens

PREDICT_FROM = ("decoder", "alignment")


class Answer(NamedTuple):
    """What a model says about an image.

    Attributes:
        decision: logits of whichever of the two was asked.
        alignment: A / temperature, of the same classes; None of a model that compares no text with images.
    """

    decision: Prediction
    alignment: Prediction | None


def answer(
    model: nn.Module, batched_inputs: list[dict[str, Any]], predict_from: str, tokens: ClassTokens | None = None
) -> list[Answer]:
    """Predict a batch, in one pass through the image encoder.

    Args:
        model: ICPC, or any with the contract of Detectron2's `SemanticSegmentor`.
        batched_inputs: as the model takes them.
        predict_from: "decoder" or "alignment".
        tokens: of other classes than the model's, from the alignment alone.

    Raises:
        ValueError: the decoder is asked about other classes, there is no alignment, or `predict_from` is unknown.
    """
    if predict_from not in PREDICT_FROM:
        raise ValueError(f"predict_from is {predict_from!r}; wanted is 'decoder' or 'alignment'")
    if isinstance(model, ICPC):
        return _answer(model, batched_inputs, predict_from, tokens)
    if predict_from == "alignment" or tokens is not None:
        raise ValueError(f"{type(model).__name__} compares no text with images: it answers for its own classes alone")
    if isinstance(model, Segmentor):
        return [Answer(decision, None) for decision in model.predictions(batched_inputs)]
    return [Answer(_full_size(output["sem_seg"]), None) for output in model(batched_inputs)]


def _answer(
    model: ICPC, batched_inputs: list[dict[str, Any]], predict_from: str, tokens: ClassTokens | None
) -> list[Answer]:
    if tokens is not None and predict_from == "decoder":
        raise ValueError(
            "the decoder's classifier is bound to the classes that it was trained for; other class names can only be "
            "predicted from the alignment: predict_from='alignment'"
        )
    maps: list[Tensor] = []

    def predict(images: Tensor) -> Tensor:
        encoded = model.encode(images, tokens)
        logits = model.decode(encoded) if predict_from == "decoder" else None
        # After the decoder, which reaches finer maps by a shorter way unless they exist already.
        maps.append(_score_map(model, encoded.scores, tokens) / model.align_temperature)
        return maps[-1] if logits is None else logits

    images = model.preprocess_image(batched_inputs)
    decisions = model.inference(images, batched_inputs, predict)
    if predict_from == "alignment":
        return [Answer(decision, decision) for decision in decisions]
    # The same windows once more, with the maps that the first pass has left.
    left = iter(maps)
    alignments = model.inference(images, batched_inputs, lambda _: next(left))
    return list(map(Answer, decisions, alignments))


def _score_map(model: ICPC, scores: ScoreMaps, tokens: ClassTokens | None) -> Tensor:
    """The map that the losses supervised first; of other classes, if that is none of the cosines, the finest of these.

    (B, K, H / stride, W / stride), in [-1, 1] where it is a cosine.
    """
    level = model.loss_scales[0]
    cosines = scores.keys() - scores.terms.keys()
    return scores[level if tokens is None or level in cosines else min(cosines)]


def _full_size(logits: Tensor) -> Prediction:
    """Logits (K, H, W) of a whole picture."""
    size = tuple(logits.shape[1:])
    return Prediction([Window(logits, size, slice(0, size[0]), slice(0, size[1]))], size, size)
