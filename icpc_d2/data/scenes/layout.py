"""Where the things of the generated scenes stand: far ones first, so that near ones hide them."""

import numpy as np

from icpc_d2.data.scenes import sprites
from icpc_d2.data.scenes.drawing import BOAT, BUILDING, CAR, GRASS, PERSON, ROAD, TREE, WATER, Canvas, Random, Sprite
from icpc_d2.data.scenes.landscape import Ground


def place_objects(rng: Random, canvas: Canvas, ground: Ground) -> None:
    """Draw buildings, trees, boats, cars and people on a landscape, as many as chance will have."""
    things: list[tuple[int, int]] = []  # (row of the feet, class)
    height = canvas.label.shape[0]
    if rng.random() < 0.65:
        things += [(_row(rng, ground, height, 0.0, 0.25), BUILDING) for _ in range(rng.integers(1, 6))]
    things += [(_row(rng, ground, height, 0.02, 0.7), TREE) for _ in range(rng.integers(0, 7))]
    things += [(_row(rng, ground, height, 0.08, 0.95), BOAT) for _ in range(rng.integers(2, 7))]
    things += [(_row(rng, ground, height, 0.15, 1.0), CAR) for _ in range(rng.integers(1, 5))]
    things += [(_row(rng, ground, height, 0.2, 1.05), PERSON) for _ in range(rng.integers(1, 5))]
    where = canvas.label.copy()  # the ground alone, before things stand on it
    for row, kind in sorted(things):
        _place(rng, canvas, ground, where, row, kind)


def _row(rng: Random, ground: Ground, height: int, nearest: float, farthest: float) -> int:
    """A row between two depths: 0 is the horizon, 1 the lower edge."""
    return round(ground.horizon + (height - ground.horizon) * rng.uniform(nearest, farthest))


# On what each thing may stand.
FOOTING = {
    BUILDING: (GRASS,),
    TREE: (GRASS,),
    BOAT: (WATER,),
    CAR: (ROAD,),
    PERSON: (GRASS, ROAD),
}


def _place(rng: Random, canvas: Canvas, ground: Ground, where: np.ndarray, row: int, kind: int) -> None:
    """Draw one thing with its feet at `row`, in a column where it may stand; nothing if there is none."""
    row_of_ground = where[min(row, where.shape[0] - 1)]
    columns = np.flatnonzero(np.isin(row_of_ground, FOOTING[kind]))
    if len(columns) == 0:
        return
    x = int(columns[rng.integers(len(columns))])
    size = ground.depth_scale(row)
    picture, mask = _draw(rng, kind, size * where.shape[0], ground)
    height, width = mask.shape
    if kind != BUILDING:
        canvas.shade(x, row, 0.6 * width, 0.08 * height, rng.uniform(0.3, 0.6))
    distance = 0.3 * (1 - size) ** 2
    canvas.paste((picture, mask), x - width // 2, row - height + 1, kind, distance)


def _draw(rng: Random, kind: int, scale: float, ground: Ground) -> Sprite:
    """The sprite of a thing; `scale` is the height of the picture as seen from its distance, in pixels."""
    if kind == BUILDING:
        return sprites.building(rng, round(scale * rng.uniform(0.5, 1.2)), round(scale * rng.uniform(0.5, 1.1)))
    if kind == TREE:
        return sprites.tree(rng, round(scale * rng.uniform(0.45, 0.9)))
    if kind == BOAT:
        return sprites.boat(rng, round(scale * rng.uniform(0.32, 0.55)))
    if kind == CAR:
        return sprites.car(rng, round(scale * rng.uniform(0.2, 0.27)), ground.road_leads_away)
    return sprites.person(rng, round(scale * rng.uniform(0.34, 0.46)))
