"""The landscapes of the generated scenes (sky, mountains, grass, water, road), and the places of the things in them."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from icpc_d2.data.scenes import sprites
from icpc_d2.data.scenes.drawing import (
    Canvas,
    Random,
    SceneClass,
    Size,
    fractal,
    gradient,
    mixed,
    noise,
    pick,
    textured,
)

# Palettes in percent. Of skies (zenith, horizon): fair, overcast, dusk, pale, stormy.
SKIES = [
    ((25, 48, 80), (70, 82, 92)),
    ((52, 55, 59), (72, 73, 74)),
    ((30, 30, 50), (90, 62, 42)),
    ((55, 70, 85), (88, 88, 84)),
    ((28, 31, 37), (52, 56, 60)),
]
ROCKS = [(36, 40, 46), (38, 34, 30), (26, 34, 24), (42, 36, 44)]
GRASSES = [(30, 46, 18), (22, 36, 14), (54, 48, 24), (40, 42, 24)]
WATERS = [(16, 32, 46), (22, 40, 40), (32, 38, 42)]
PAVINGS = [(36, 36, 38), (52, 52, 52), (24, 24, 27), (50, 41, 30)]


class Placement(NamedTuple):
    """How a kind of thing is drawn and where it may stand."""

    draw: Callable[..., tuple[np.ndarray, np.ndarray]]
    ground: tuple[SceneClass, ...]  # on what it may stand
    depth: tuple[float, float]  # range of its feet: 0 is the horizon, 1 the lower edge
    count: tuple[int, int]  # the fewest in a scene, and one more than the most
    height: tuple[float, float]  # range, in heights of the image as seen from its distance


THINGS = {
    SceneClass.BUILDING: Placement(sprites.building, (SceneClass.GRASS,), (0.0, 0.25), (1, 6), (0.5, 1.2)),
    SceneClass.TREE: Placement(sprites.tree, (SceneClass.GRASS,), (0.02, 0.7), (0, 7), (0.45, 0.9)),
    SceneClass.BOAT: Placement(sprites.boat, (SceneClass.WATER,), (0.08, 0.95), (2, 7), (0.32, 0.55)),
    SceneClass.CAR: Placement(sprites.car, (SceneClass.ROAD,), (0.15, 1.0), (1, 5), (0.2, 0.27)),
    SceneClass.PERSON: Placement(
        sprites.person, (SceneClass.GRASS, SceneClass.ROAD), (0.2, 1.05), (1, 5), (0.34, 0.46)
    ),
}


def draw_landscape(rng: Random, size: Size, sky: int | None = None) -> tuple[Canvas, int, bool]:
    """Draw a landscape; return it, the row of its horizon, and whether a road would lead away from us, not across.

    The sky is one of SKIES, by chance or the given one.
    """
    horizon = round(size[0] * rng.uniform(0.32, 0.52))
    zenith, haze = (pick(rng, [color]) for color in SKIES[rng.integers(len(SKIES)) if sky is None else sky])
    canvas = Canvas(size, haze)
    _draw_sky(rng, canvas, zenith, horizon)
    if rng.random() < 0.6:
        _draw_mountains(rng, canvas, horizon)
    _draw_grass(rng, canvas, horizon)
    has_road = rng.random() < 0.75
    leads_away = bool(rng.random() < 0.5)
    water = np.zeros(size, bool)
    if not has_road or rng.random() < 0.45:
        water = _draw_water(rng, canvas, horizon, far_side=has_road)
    if has_road:
        _draw_road(rng, canvas, horizon, leads_away, water)
    return canvas, horizon, leads_away


def place_things(rng: Random, canvas: Canvas, horizon: int, road_leads_away: bool) -> None:
    """Draw buildings, trees, boats, cars and people, as many as chance will have; far ones first, behind near ones."""
    landscape = canvas.label.copy()  # before things stand on it
    below_horizon = len(landscape) - horizon
    feet: list[tuple[int, SceneClass]] = []  # (row, kind)
    for kind, thing in THINGS.items():
        if kind != SceneClass.BUILDING or rng.random() < 0.65:
            for _ in range(rng.integers(*thing.count)):
                feet.append((round(horizon + below_horizon * rng.uniform(*thing.depth)), kind))
    for row, kind in sorted(feet):
        thing = THINGS[kind]
        columns = np.flatnonzero(np.isin(landscape[min(row, len(landscape) - 1)], thing.ground))
        if len(columns) == 0:
            continue  # it can stand nowhere
        x = int(columns[rng.integers(len(columns))])
        size = 0.4 + 0.6 * (row - horizon) / below_horizon  # share of that at the lower edge
        scale = size * len(landscape)  # height of the image as seen from there, in pixels
        more = {SceneClass.BUILDING: (scale,), SceneClass.CAR: (road_leads_away,)}.get(kind, ())
        image, mask = thing.draw(rng, round(scale * rng.uniform(*thing.height)), *more)
        height, width = mask.shape
        if kind != SceneClass.BUILDING:
            canvas.shade(x, row, 0.6 * width, 0.08 * height, rng.uniform(0.3, 0.6))
        canvas.paint((image, mask), kind, distance=0.3 * (1 - size) ** 2, x=x - width // 2, y=row - height + 1)


def _depth(size: Size, horizon: int) -> np.ndarray:
    """Compute how near each row is: (height, 1), 0 at the horizon and 1 at the lower edge."""
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    return ((rows - horizon) / (size[0] - horizon)).clip(0, 1)


def _draw_sky(rng: Random, canvas: Canvas, zenith: np.ndarray, horizon: int) -> None:
    height, width = size = canvas.label.shape
    below = np.broadcast_to(canvas.haze, (height - horizon, width, 3))
    image = np.concatenate([gradient(zenith, canvas.haze, (horizon, width)), below])
    cloud = np.float32(min(1.0, float(canvas.haze.mean()) + rng.uniform(-0.15, 0.25)))
    density = fractal(rng, size, height / 6, stretch=2.5) + rng.uniform(-0.8, 0.5)
    image = mixed(image, cloud, (density * 1.2).clip(0, 0.9))
    canvas.paint((image, np.ones(size, bool)), SceneClass.SKY)


def _draw_mountains(rng: Random, canvas: Canvas, horizon: int) -> None:
    height, width = size = canvas.label.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    rock = pick(rng, ROCKS)
    snow_line = horizon - height * rng.uniform(0.1, 0.4)
    for number in range(rng.integers(1, 4)):
        peak = height * rng.uniform(0.10, 0.30) * (1 - 0.2 * number)
        ridge = horizon - peak * _outline(rng, width)
        mask = (rows >= ridge[None, :]) & (rows < horizon + 2)
        slope = np.gradient(cv2.GaussianBlur(ridge[None, :], (0, 0), 3)[0])
        folds = fractal(rng, size, height / 12, stretch=0.6) + 0.6 * np.sign(slope)[None, :]
        image = textured(rock, folds, 0.22)
        snow = mask & (rows + 6 * folds < snow_line) & (rows < ridge[None, :] + 0.4 * peak)
        image[snow] = 0.25 * image[snow] + 0.68
        canvas.paint((image.clip(0, 1), mask), SceneClass.MOUNTAIN, distance=0.45 - 0.15 * number)


def _outline(rng: Random, width: int) -> np.ndarray:
    """Draw jagged heights, 0..1, for each column."""
    heights = np.zeros(width, np.float32)
    for octave in range(5):
        knots = np.linspace(0, width - 1, 4 * 2**octave + 1)
        heights += np.interp(np.arange(width), knots, rng.uniform(0, 1, len(knots))).astype(np.float32) * 0.5**octave
    return (heights / heights.max()) ** 1.3


def _draw_grass(rng: Random, canvas: Canvas, horizon: int) -> None:
    height, _ = size = canvas.label.shape
    depth = _depth(size, horizon)
    blades = noise(rng, size, 7.0, 2.0) * (0.35 + 0.65 * depth)
    patches = fractal(rng, size, height / 10, stretch=3.0)
    image = textured(pick(rng, GRASSES), 0.7 * blades + 0.5 * patches, 0.3)
    far = np.repeat(0.35 * (1 - depth), size[1], axis=1)
    mask = np.broadcast_to(np.arange(height)[:, None] >= horizon, size)
    canvas.paint((mixed(image, canvas.haze, far).clip(0, 1), mask), SceneClass.GRASS)


def _draw_water(rng: Random, canvas: Canvas, horizon: int, far_side: bool) -> np.ndarray:
    """Draw a lake from the horizon on, or (unless `far_side`) perhaps at the lower edge, and return its mask."""
    height, width = size = canvas.label.shape
    rows = np.arange(height)[:, None]
    wave = fractal(rng, (2, width), 4.0, stretch=width / 8)[0]
    depth = height - horizon
    from_horizon = far_side or rng.random() < 0.6
    near, far = (0.25, 0.4) if far_side else (0.4, 0.75) if from_horizon else (0.25, 0.55)
    shore = (horizon + depth * rng.uniform(near, far) + 0.07 * depth * wave)[None, :]
    mask = (rows >= horizon) & (rows < shore) if from_horizon else rows >= shore
    mirror = canvas.image[np.clip(2 * horizon - rows[:, 0], 0, horizon)]
    share = rng.uniform(0.35, 0.65)
    image = mirror * share + pick(rng, WATERS) * (1 - share)
    ripples = noise(rng, size, 3.0, 22.0) * (0.4 + 0.6 * _depth(size, horizon)) + 0.5 * noise(rng, size, 8.0, 60.0)
    image = image * cv2.merge([1 + 0.16 * ripples] * 3)
    image[ripples > 1.0] += 0.15
    canvas.paint((image.clip(0, 1), mask), SceneClass.WATER)
    return mask


def _draw_road(rng: Random, canvas: Canvas, horizon: int, leads_away: bool, water: np.ndarray) -> None:
    height, width = size = canvas.label.shape
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    if leads_away:
        t = _depth(size, horizon).clip(1e-3)
        vanishing, foot = rng.uniform(0.25, 0.75, 2) * width
        bend = rng.normal(0, 0.35) * width
        middle = vanishing + (foot - vanishing) * t + bend * t * (1 - t)
        half = width * (0.012 + rng.uniform(0.22, 0.4) * t)
        across = (columns - middle) / half
        dashes = np.sin(rng.uniform(2.5, 4) * np.pi * np.log(t)) > 0
        mask = (np.abs(across) < 1) & (rows >= horizon)
    else:
        level = horizon + (height - horizon) * rng.uniform(0.5, 0.78)
        middle = level + rng.normal(0, 0.04) * (columns - width / 2)
        half = (height - horizon) * rng.uniform(0.13, 0.22)
        across = (rows - middle) / half
        dashes = np.broadcast_to(np.sin(columns * 2 * np.pi / (0.22 * width)) > 0, size)
        mask = np.abs(across) < 1
    grain = 0.5 * noise(rng, size, 1.5, 1.5) + 0.6 * fractal(rng, size, height / 8, stretch=2.0)
    image = textured(pick(rng, PAVINGS), grain, 0.13)
    marking = rng.random()
    if marking < 0.75:
        paint = np.float32([0.88, 0.87, 0.82]) if marking < 0.5 else np.float32([0.85, 0.70, 0.25])
        image[(np.abs(across) < 0.05) & dashes] = paint
        image[np.abs(np.abs(across) - 0.9) < 0.035] = paint * 0.95
    canvas.paint((image.clip(0, 1), mask & ~water), SceneClass.ROAD, distance=0.08)
