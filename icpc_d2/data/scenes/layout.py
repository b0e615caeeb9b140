"""The places of the things in the generated scenes: far ones first, so that near ones hide them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from icpc_d2.data.scenes import sprites
from icpc_d2.data.scenes.drawing import Canvas, Random, SceneClass, Sprite
from icpc_d2.data.scenes.landscape import Ground


class Thing(NamedTuple):
    """A kind of thing in a scene."""

    draw: Callable[..., Sprite]
    ground: tuple[SceneClass, ...]  # on what it may stand
    depth: tuple[float, float]  # range of its feet: 0 is the horizon, 1 the lower edge
    count: tuple[int, int]  # the fewest in a scene, and one more than the most
    height: tuple[float, float]  # range, in heights of the image as seen from its distance


THINGS = {
    SceneClass.BUILDING: Thing(sprites.building, (SceneClass.GRASS,), (0.0, 0.25), (1, 6), (0.5, 1.2)),
    SceneClass.TREE: Thing(sprites.tree, (SceneClass.GRASS,), (0.02, 0.7), (0, 7), (0.45, 0.9)),
    SceneClass.BOAT: Thing(sprites.boat, (SceneClass.WATER,), (0.08, 0.95), (2, 7), (0.32, 0.55)),
    SceneClass.CAR: Thing(sprites.car, (SceneClass.ROAD,), (0.15, 1.0), (1, 5), (0.2, 0.27)),
    SceneClass.PERSON: Thing(sprites.person, (SceneClass.GRASS, SceneClass.ROAD), (0.2, 1.05), (1, 5), (0.34, 0.46)),
}


def place_objects(rng: Random, canvas: Canvas, ground: Ground) -> None:
    """Draw buildings, trees, boats, cars and people on a landscape, as many as chance will have."""
    feet: list[tuple[int, SceneClass]] = []  # (row, kind)
    below_horizon = canvas.label.shape[0] - ground.horizon
    for kind, thing in THINGS.items():
        if kind != SceneClass.BUILDING or rng.random() < 0.65:
            for _ in range(rng.integers(*thing.count)):
                feet.append((round(ground.horizon + below_horizon * rng.uniform(*thing.depth)), kind))
    landscape = canvas.label.copy()  # before things stand on it
    for row, kind in sorted(feet):
        _place(rng, canvas, ground, landscape, row, kind)


def _place(rng: Random, canvas: Canvas, ground: Ground, landscape: np.ndarray, row: int, kind: SceneClass) -> None:
    """Draw one thing with its feet at `row`, in a column where it may stand; nothing if there is none."""
    thing = THINGS[kind]
    columns = np.flatnonzero(np.isin(landscape[min(row, len(landscape) - 1)], thing.ground))
    if len(columns) == 0:
        return
    x = int(columns[rng.integers(len(columns))])
    size = ground.depth_scale(row)
    scale = size * len(landscape)  # height of the image as seen from there, in pixels
    more = {SceneClass.BUILDING: (scale,), SceneClass.CAR: (ground.road_leads_away,)}.get(kind, ())
    image, mask = thing.draw(rng, round(scale * rng.uniform(*thing.height)), *more)
    height, width = mask.shape
    if kind != SceneClass.BUILDING:
        canvas.shade(x, row, 0.6 * width, 0.08 * height, rng.uniform(0.3, 0.6))
    canvas.paste((image, mask), x - width // 2, row - height + 1, kind, distance=0.3 * (1 - size) ** 2)
