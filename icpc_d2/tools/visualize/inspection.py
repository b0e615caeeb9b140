"""The insides of a trained model, for figures: score maps, embeddings of both encoders, words near its prompt.

``batched_inputs`` are as the model takes them. Shapes: B images, K classes, C joint embedding width, h x w positions.
"""

from typing import Any, NamedTuple

import torch
from open_clip import SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.meta_arch import ICPC

_END_OF_WORD = "</w>"


class Embeddings(NamedTuple):
    """The embeddings that the two encoders give for an image."""

    dense: Tensor  # (C, h, w), without what lies in the image's padding alone
    prompted: Tensor  # (K, C), the text encoder's output for the prompt, Eq. 2 and 3
    refined: Tensor  # (K, C), after Eq. 4: what the dense embedding is compared with


@torch.no_grad()
def score_maps(model: ICPC, batched_inputs: list[dict[str, Any]], level: str) -> list[Tensor]:
    """Compute score maps A of Eq. 5 and 8, (K, height, width) for each image, up-sampled to the size it asks for.

    Args:
        level: "res5" and "res4" are cosines in [-1, 1], "res3" and "res2" sums that are up-sampled from them.

    Raises:
        ValueError: the model has no map at this level.
    """
    if level not in model.alignment.levels:
        raise ValueError(f"the model has no score map at {level!r}; wanted is one of {list(model.alignment.levels)}")
    images = model.preprocess_image(batched_inputs)
    predictions = model.inference(images, batched_inputs, lambda windows: model.encode(windows)[1][level])
    return [prediction.logits() for prediction in predictions]


@torch.no_grad()
def embeddings(model: ICPC, batched_inputs: list[dict[str, Any]]) -> list[Embeddings]:
    """Embed images, each as a whole, and the class names in their prompts."""
    images = model.preprocess_image(batched_inputs)
    stride = model.backbone.output_shape()["dense_embed"].stride
    found = {}
    for places, batch in model.group(images):
        features = model.backbone(batch)
        dense, global_embed = features["dense_embed"], features["global_embed"]
        prompted = model.text_encoder(model.class_tokens, model.prompt(global_embed))
        refined = model.context_decoder(prompted, global_embed, dense)
        for index, place in enumerate(places):
            height, width = images.image_sizes[place]
            inside = dense[index, :, : -(-height // stride), : -(-width // stride)]
            found[place] = Embeddings(inside, prompted.expand_as(refined)[index], refined[index])
    return [found[place] for place in range(len(images))]


@torch.no_grad()
def nearest_words(model: ICPC, count: int) -> list[list[tuple[str, float]]]:
    """Find the words of CLIP's vocabulary that are nearest to the learned context vectors V_1..V_N.

    Words are tokens of two Latin letters or more that end a word.

    Returns:
        For each vector `count` words with their cosines, the nearest first.

    Raises:
        ValueError: the model's prompt has no such vectors.
    """
    vectors = getattr(model.prompt, "vectors", None)
    if vectors is None:
        raise ValueError(
            f"the prompt is {type(model.prompt).__name__}, which learns no context vectors; "
            "MODEL.PROMPT.NAME 'coop', 'cocoop' and 'icpc' do"
        )
    words = {}
    for index, token in SimpleTokenizer().decoder.items():
        word = token.removesuffix(_END_OF_WORD)
        # Other letters are bytes in disguise: parts of emojis and of other scripts.
        if word != token and len(word) > 1 and word.isascii() and word.isalpha():
            words[index] = word
    table = model.text_encoder.token_embedding.weight[list(words)]
    cosines, places = (F.normalize(vectors, dim=1) @ F.normalize(table, dim=1).T).topk(count)
    names = list(words.values())
    return [
        [(names[place], cosine) for place, cosine in zip(*row, strict=True)]
        for row in zip(places.tolist(), cosines.tolist(), strict=True)
    ]
