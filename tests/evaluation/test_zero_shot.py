"""Zero-shot figures of a model that knows exactly what it is told, and of one that knows it wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.data.captioned_pictures import caption_tokens
from icpc_d2.data.scenes.archive import SceneRecord
from icpc_d2.evaluation.zero_shot import average_precision, evaluate_zero_shot

WORDS = ["car", "boat", "red", "blue"]
NAMES = {"car": ("car",), "boat": ("boat", "ship")}
WORD_OF = {word: int(caption_tokens(word)[1]) for word in (*WORDS, "ship")}


class Knowing(nn.Module):
    """Embeds images and texts by the words in them; in an image, a word is the colour of its pixels, 10 * (i + 1)."""

    device = torch.device("cpu")

    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values = [10 * (index + 1) for index in range(len(WORDS))]
        maps = torch.stack([(images == value).any(dim=1) for value in values], dim=1).float()
        dense = F.avg_pool2d(maps, 16)
        return F.normalize(maps.amax(dim=(2, 3)) + 1e-6), F.normalize(dense + 1e-6)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        found = torch.stack([(tokens == WORD_OF[word]).any(dim=1) for word in WORDS], dim=1).float()
        found[:, 1] += (tokens == WORD_OF["ship"]).any(dim=1)
        return F.normalize(found + 1e-6)


def make_scene(kind: str, color: str | None, caption: str) -> SceneRecord:
    """A picture whose left half is a thing and whose right half has no label."""
    image, label = np.zeros((32, 64, 3), np.uint8), np.full((32, 64), 255, np.uint8)
    image[:, :32, 0] = 10 * (WORDS.index(kind) + 1)
    if color:
        image[:, :32, 1] = 10 * (WORDS.index(color) + 1)
    label[:, :32] = WORDS.index(kind)
    return SceneRecord(image, label, [caption], [[kind, color]])


SCENES = [
    make_scene("car", "red", "a red car"),
    make_scene("car", "blue", "a blue car"),
    make_scene("boat", "red", "a red ship"),
    make_scene("boat", None, "a ship"),
]


def test_one_that_knows_is_right() -> None:
    figures = evaluate_zero_shot(Knowing(), SCENES, NAMES, ["car", "boat"])
    assert figures["mAP"] == figures["AP-boat"] == figures["car_color"] == figures["R@1_captions"] == 100
    assert figures["car_color_A"] == figures["R@5_images"] == figures["mIoU"] == figures["IoU-car"] == 100
    assert figures["mAP_chance"] == figures["car_color_chance"] == 50


def test_one_that_takes_cars_for_boats_is_wrong() -> None:
    model = Knowing()
    model.embed_texts = lambda tokens: Knowing.embed_texts(model, tokens)[:, [1, 0, 3, 2]]
    figures = evaluate_zero_shot(model, SCENES, NAMES, ["car", "boat"])
    assert figures["car_color"] == figures["mIoU"] == 0
    assert figures["car_color_A"] == 50, "nearest are the places of nothing, which answer the first name, blue"
    assert figures["R@1_captions"] == 0 and figures["R@5_captions"] == 100, "there are but four captions"
    # The two that are meant come last of four.
    assert figures["AP-car"] == pytest.approx(100 * (1 / 3 + 2 / 4) / 2)


def test_the_color_of_a_car_is_asked_where_the_car_is() -> None:
    """Beside a blue boat, the picture as a whole shows both colours alike, and the first answer is blue."""
    car, boat = SCENES[0], make_scene("boat", "blue", "a blue ship")
    beside = np.concatenate([car.image[:, :32], boat.image[:, :32]], axis=1)
    scene = car._replace(image=beside, things=[["car", "red"], ["boat", "blue"]])
    figures = evaluate_zero_shot(Knowing(), [scene, SCENES[1]], NAMES, ["car", "boat"])
    assert figures["car_color_A"] == 100 and figures["car_color"] == 50


def test_iou_counts_what_is_missed() -> None:
    """Of three cars, one is taken for a boat."""
    scenes = [*SCENES[:2], SCENES[2]._replace(label=np.where(SCENES[2].label == 1, 0, 255).astype(np.uint8))]
    figures = evaluate_zero_shot(Knowing(), scenes, NAMES, ["car", "boat"])
    assert figures["IoU-car"] == pytest.approx(100 * 2 / 3)
    assert figures["mIoU"] == figures["IoU-car"], "no label shows a boat"


def test_iou_counts_what_is_taken_for_a_class() -> None:
    """One of three boats is taken for a car: cars are 2 of 3 answers, boats 2 of 3 labels."""
    boat = SCENES[0]._replace(label=np.where(SCENES[0].label == 0, 1, 255).astype(np.uint8))
    figures = evaluate_zero_shot(Knowing(), [*SCENES, boat], NAMES, ["car", "boat"])
    assert figures["IoU-car"] == figures["IoU-boat"] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(
    ("scores", "positive", "wanted"),
    [
        ([0.9, 0.8, 0.7], [True, False, True], (1 + 2 / 3) / 2),
        ([0.1, 0.2, 0.3], [True, False, False], 1 / 3),
        ([0.5, 0.5], [True, False], 1.0),
    ],
)
def test_average_precision(scores: list[float], positive: list[bool], wanted: float) -> None:
    assert average_precision(np.array(scores), np.array(positive)) == pytest.approx(wanted)
