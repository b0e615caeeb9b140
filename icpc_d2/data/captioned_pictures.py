"""Pictures with captions as CLIP is trained on them: a crop and some of the captions a draw, batched by the workers.

Like all training samples here, the n-th one of a training is drawn by (seed, n), whoever draws it.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from open_clip import SimpleTokenizer
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from icpc_d2.data.scenes.archive import SceneRecord

CONTEXT_LENGTH = 77


class CaptionedPictures(Dataset):
    """A crop of a scene, resized, and some of its captions, for each draw (index of the scene, number of the draw)."""

    def __init__(
        self, scenes: Sequence[SceneRecord], size: Sequence[int], min_crop: float, max_sentences: int, seed: int
    ) -> None:
        """
        Args:
            scenes: by index.
            size: height and width of the pictures.
            min_crop: the smallest share of a scene's height, and of its width, that a crop has; in (0, 1].
            max_sentences: the most captions of a scene that are joined, one after the other, 1 or more.
        """
        self._scenes, self._size, self._min_crop, self._seed = scenes, tuple(size), min_crop, seed
        self._max_sentences = max_sentences

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        """Draw a picture: "image" (3, H, W) uint8 and "tokens", ids of the caption from SOT to EOT.

        Where the scenes have close-ups, also "close_ups" (N, 64, 64, 3) uint8 and "close_up_tokens", N captions' ids.
        """
        index, number = draw
        rng = np.random.default_rng((self._seed, number))
        scene = self._scenes[index]
        height, width = scene.image.shape[:2]
        share = rng.uniform(self._min_crop, 1)
        rows, columns = round(height * share), round(width * share)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        crop = scene.image[top : top + rows, left : left + columns]
        if crop.shape[:2] != self._size:
            # Means of areas cost four times as much, and show no more where hardly a pixel is left out.
            way = cv2.INTER_AREA if rows > 1.3 * self._size[0] else cv2.INTER_LINEAR
            crop = cv2.resize(crop, self._size[::-1], interpolation=way)
        image = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)
        picture = {"image": image, "tokens": self._some_of(rng, scene.captions), "index": index}
        if scene.close_ups:
            picture["close_ups"] = torch.from_numpy(np.stack([close_up.image for close_up in scene.close_ups]))
            picture["close_up_tokens"] = [self._some_of(rng, close_up.captions) for close_up in scene.close_ups]
        return picture

    def _some_of(self, rng: np.random.Generator, captions: Sequence[str]) -> Tensor:
        """Return the token ids of some captions, one to the most, drawn by lot."""
        count = rng.integers(1, self._max_sentences + 1)
        return caption_tokens(*[captions[chosen] for chosen in rng.permutation(len(captions))[:count]])


class PaintedScenes(Sampler):
    """A sampler of scenes as one of their pictures: all paints of a scene follow each other, so that a batch has them.

    Where the same things are there in other colours, their captions tell by the colours alone which is which.
    """

    def __init__(self, scenes: Iterable[int], paints: int) -> None:
        self._scenes, self._paints = scenes, paints

    def __iter__(self) -> Iterator[int]:
        for scene in self._scenes:
            yield from range(scene * self._paints, (scene + 1) * self._paints)


def caption_tokens(*sentences: str) -> Tensor:
    """Return CLIP's token ids from SOT to EOT of sentences, with full stops between them; one too many is left out.

    Raises:
        ValueError: the first one by itself is too long for the text encoder.
    """
    ids = [_tokenizer.sot_token_id, *_encode(sentences[0])]
    if len(ids) >= CONTEXT_LENGTH:
        raise ValueError(
            f"The caption {sentences[0]!r} has {len(ids) + 1} tokens; CLIP's text encoder takes {CONTEXT_LENGTH}."
        )
    for sentence in sentences[1:]:
        more = [*_encode("."), *_encode(sentence)]
        if len(ids) + len(more) < CONTEXT_LENGTH:
            ids += more
    return torch.tensor([*ids, _tokenizer.eot_token_id])


@lru_cache(maxsize=100_000)
def _encode(text: str) -> tuple[int, ...]:
    return tuple(_tokenizer.encode(text))


def stack_tokens(captions: Sequence[Tensor]) -> Tensor:
    """Stack token ids of captions as (B, L), L of the longest one, with zeros behind the others' EOT."""
    return torch.nn.utils.rnn.pad_sequence(list(captions), batch_first=True)


def stack_pictures(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stack samples to the one input of a batch.

    Returns:
        [{"images": (B, 3, H, W) uint8, "tokens": (B, L), "file_name": what they are of}]; with N close-ups each, also
        "close_ups" (N * B, 3, 64, 64) and "close_up_tokens" (N * B, L): the first one of every picture, the second
        ones, ..., so that neighbours are of different drawings.
    """
    indices = [sample["index"] for sample in samples]
    # Channels stay last in memory, as they were drawn and as GPUs like them.
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = {
        "images": images,
        "tokens": stack_tokens([sample["tokens"] for sample in samples]),
        "file_name": f"scenes {', '.join(map(str, indices))}",
    }
    if "close_ups" in samples[0]:
        close_ups = torch.stack([sample["close_ups"] for sample in samples], dim=1)
        captions = zip(*[sample["close_up_tokens"] for sample in samples], strict=True)
        batch["close_ups"] = close_ups.flatten(0, 1).permute(0, 3, 1, 2)
        batch["close_up_tokens"] = stack_tokens([tokens for one_of_each in captions for tokens in one_of_each])
    return [batch]


_tokenizer = SimpleTokenizer()
