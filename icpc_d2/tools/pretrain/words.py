"""Figures of the words of a segmentation model that started from pretrained weights: unlabelled kinds, colours."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from tabulate import tabulate

from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.scenes.archive import SEEDS
from icpc_d2.data.scenes.captioned import KINDS, SYNONYMS, CaptionedScene, draw_captioned_scene
from icpc_d2.inference.predictor import Predictor

COLORED = "car"
COLORS = ("red", "blue")
BATCH = 8


def evaluate_words(predictor: Predictor, num_scenes: int) -> dict[str, float]:
    """Ask a model, by the alignment A, for kinds that no label has named, and for a red against a blue car.

    Args:
        predictor: of a model that was trained on the ten classes of ``scenes``.
        num_scenes: captioned scenes that are looked at, by day, of the evaluation's.

    Returns:
        In percent: "IoU-dog", ... of each kind without a label among the ten classes, in the scenes that show it;
        "IoU_chance-dog", the IoU of an answer that is "dog" everywhere; their means "mIoU", "mIoU_chance"; and
        "car_color", the share of red and blue cars most of whose pixels are nearer to their own colour's words.
    """
    classes = read_class_list("scenes_10").prompt_names
    overlap = {kind: np.zeros(3) for kind in KINDS if kind not in classes}  # both, one of them, thing
    pixels = dict.fromkeys(overlap, 0)
    right: list[bool] = []
    for scenes in _batches(num_scenes):
        for kind in overlap:
            shown = [scene for scene in scenes if any(thing.kind == kind for thing in scene.things)]
            if not shown:
                continue
            asked = [*classes, SYNONYMS[kind]]
            for scene, found in zip(shown, predictor([scene.image for scene in shown], classes=asked), strict=True):
                truth = np.any([thing.mask for thing in scene.things if thing.kind == kind], axis=0)
                answer = found.labels == len(classes)
                overlap[kind] += (truth & answer).sum(), (truth | answer).sum(), truth.sum()
                pixels[kind] += truth.size
        right += _colors_told(predictor, scenes)
    seen = [kind for kind, count in pixels.items() if count]
    ious = {f"IoU-{kind}": 100 * float(overlap[kind][0] / overlap[kind][1]) for kind in seen}
    chances = {f"IoU_chance-{kind}": 100 * float(overlap[kind][2] / pixels[kind]) for kind in seen}
    figures = {"mIoU": float(np.mean([*ious.values()])), "mIoU_chance": float(np.mean([*chances.values()]))}
    if right:
        figures |= {"car_color": 100 * float(np.mean(right)), "cars": float(len(right))}
    return {**figures, **ious, **chances}


def _batches(num_scenes: int) -> Iterator[list[CaptionedScene]]:
    scenes = (draw_captioned_scene((SEEDS["val"], index)) for index in range(num_scenes))
    while batch := list(islice(scenes, BATCH)):
        yield batch


def _colors_told(predictor: Predictor, scenes: Sequence[CaptionedScene]) -> list[bool]:
    """Tell of each red or blue car whether most of its pixels are nearer to its own words than to the other's."""
    cars = [[thing for thing in scene.things if thing.kind == COLORED and thing.color in COLORS] for scene in scenes]
    asked = [index for index, found in enumerate(cars) if found]
    if not asked:
        return []
    words = [f"a {color} {COLORED}" for color in COLORS]
    told = predictor([scenes[index].image for index in asked], classes=words)
    return [
        bool((prediction.labels[car.mask] == COLORS.index(car.color)).mean() > 0.5)
        for index, prediction in zip(asked, told, strict=True)
        for car in cars[index]
    ]


def format_words(figures: dict[str, float]) -> str:
    """Format the figures: a row for each kind, then the means."""
    kinds = [name.removeprefix("IoU-") for name in figures if name.startswith("IoU-")]
    rows = [[kind, f"{figures[f'IoU-{kind}']:.1f}", f"{figures[f'IoU_chance-{kind}']:.1f}"] for kind in kinds]
    table = tabulate(rows, ["word", "IoU", "chance"], colalign=("left", "right", "right"), disable_numparse=True)
    colors = f"  red or blue car told {figures['car_color']:.1f} of {figures['cars']:.0f}" if "cars" in figures else ""
    return f"{table}\nmIoU {figures['mIoU']:.1f}  chance {figures['mIoU_chance']:.1f}{colors}"
