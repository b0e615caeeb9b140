"""Close-ups of captioned scenes: small windows at the scene's own scale, with captions of what they show alone.

Photographs on the web show things from near as often as landscapes; a caption that names one thing and its ground
tells what that thing looks like, where one of a whole scene names many.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from icpc_d2.data.scenes.captioned import CaptionedScene
from icpc_d2.data.scenes.captions import write_captions
from icpc_d2.data.scenes.drawing import Random
from icpc_d2.data.scenes.things import Thing
from icpc_d2.data.scenes.vocabulary import LANDSCAPE

# In pixels: two positions of the coarsest features, so that four close-ups make a picture of 128 x 128.
SIDE = 64
# How often a close-up is of a thing, and how far from its middle the thing may be, as a share of the side.
OF_A_THING = 0.75
FROM_THE_MIDDLE = 0.25
# Of the window: less of a landscape is not worth a word, and less of a thing neither, but where most of it is there.
SMALLEST_LANDSCAPE, SMALLEST_THING = 0.1, 0.04
SMALLEST_PART, FEWEST_PIXELS = 0.5, 30


class CloseUp(NamedTuple):
    """A part of a scene, with captions of its own."""

    image: np.ndarray  # (SIDE, SIDE, 3) uint8 RGB
    captions: list[str]


def draw_close_ups(rng: Random, scene: CaptionedScene, count: int) -> list[CloseUp]:
    """Take `count` close-ups of a scene, three in four of a thing that is drawn by lot, the others from anywhere."""
    found = _close_ups(rng, scene)
    return [next(found) for _ in range(count)]


def _close_ups(rng: Random, scene: CaptionedScene) -> Iterator[CloseUp]:
    """Yield close-ups without end: all of a scene belongs to its things and landscapes, but for small remainders."""
    things = [thing for thing in scene.things if thing.kind not in LANDSCAPE]
    height, width = scene.labels.shape
    while True:
        if things and rng.random() < OF_A_THING:
            top, left, bottom, right = things[rng.integers(len(things))].box
            off = rng.uniform(-FROM_THE_MIDDLE, FROM_THE_MIDDLE, 2) * SIDE
            row, column = (top + bottom) / 2 + off[0], (left + right) / 2 + off[1]
        else:
            row, column = rng.uniform(0, height), rng.uniform(0, width)
        top, left = np.clip((round(row - SIDE / 2), round(column - SIDE / 2)), 0, (height - SIDE, width - SIDE))
        window = (slice(top, top + SIDE), slice(left, left + SIDE))
        if seen := list(_seen(scene, window)):
            captions = write_captions(rng, seen, scene.weather, scene.style)
            yield CloseUp(scene.image[window], list(captions))


def _seen(scene: CaptionedScene, window: tuple[slice, slice]) -> Iterator[Thing]:
    """Yield the things of a scene as far as a window shows them, if that is enough to be named."""
    for thing in scene.things:
        mask = thing.mask[window]
        share, part = mask.mean(), mask.sum() / thing.mask.sum()
        is_landscape = thing.kind in LANDSCAPE
        is_plain = share >= SMALLEST_THING or (part >= SMALLEST_PART and mask.sum() >= FEWEST_PIXELS)
        if share >= SMALLEST_LANDSCAPE if is_landscape else is_plain:
            yield Thing(thing.kind, thing.color, mask, thing.ground)
