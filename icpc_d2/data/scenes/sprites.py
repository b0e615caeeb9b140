"""The things of the generated scenes, each a sprite: tree, building, car, person, boat.

Their colours overlap with each other's and with the ground's on purpose: a grey car on a grey road before a grey
building is told apart by its shape, not by its colour.
"""

import cv2
import numpy as np

from icpc_d2.data.scenes.drawing import (
    Random,
    Sprite,
    ellipse,
    fractal,
    gradient,
    noise,
    pick,
    polygon,
    textured,
)

FOLIAGE = [(0.16, 0.34, 0.12), (0.25, 0.42, 0.16), (0.10, 0.24, 0.12), (0.55, 0.38, 0.12), (0.52, 0.22, 0.12)]
BARK = [(0.30, 0.21, 0.14), (0.38, 0.34, 0.30)]
WALLS = [
    (0.55, 0.55, 0.56),
    (0.36, 0.37, 0.40),
    (0.60, 0.33, 0.25),
    (0.78, 0.70, 0.56),
    (0.46, 0.58, 0.70),
    (0.85, 0.84, 0.80),
]
ROOFS = [(0.45, 0.20, 0.15), (0.28, 0.28, 0.30), (0.40, 0.32, 0.25)]
PAINTS = [
    (0.70, 0.10, 0.10),
    (0.12, 0.22, 0.52),
    (0.50, 0.52, 0.54),
    (0.88, 0.88, 0.86),
    (0.12, 0.12, 0.13),
    (0.20, 0.36, 0.22),
    (0.80, 0.62, 0.15),
]
CLOTHES = [
    (0.15, 0.18, 0.30),
    (0.65, 0.15, 0.15),
    (0.85, 0.82, 0.78),
    (0.20, 0.38, 0.25),
    (0.30, 0.30, 0.32),
    (0.80, 0.60, 0.20),
    (0.35, 0.50, 0.70),
]
SKIN = [(0.87, 0.68, 0.55), (0.60, 0.42, 0.30), (0.36, 0.24, 0.17)]
HULLS = [(0.90, 0.90, 0.88), (0.20, 0.25, 0.40), (0.55, 0.18, 0.14), (0.42, 0.30, 0.20), (0.50, 0.55, 0.58)]
SAILS = [(0.94, 0.93, 0.90), (0.80, 0.35, 0.20), (0.75, 0.78, 0.82)]


def tree(rng: Random, height: int) -> Sprite:
    """A broad-leaved tree or a conifer, `height` pixels high."""
    height = max(height, 12)
    conifer = rng.random() < 0.35
    width = max(8, round(height * (rng.uniform(0.4, 0.55) if conifer else rng.uniform(0.6, 0.95))))
    crown = _conifer_crown(rng, height, width) if conifer else _round_crown(rng, height, width)
    leaves = fractal(rng, height, width, max(height / 9, 3.0)) + 0.5 * noise(rng, height, width, 2.0, 2.0)
    light = gradient((1.25,) * 3, (0.7,) * 3, height, width)
    picture = textured(pick(rng, FOLIAGE), leaves, 0.45) * light
    half = rng.uniform(0.035, 0.06)
    trunk = polygon(height, width, [(0.5 - half, 0.5), (0.5 + half, 0.5), (0.5 + 1.5 * half, 1), (0.5 - 1.5 * half, 1)])
    bark = textured(pick(rng, BARK), noise(rng, height, width, 8.0, 2.0), 0.3)
    picture = np.where((trunk & ~crown)[:, :, None], bark, picture)
    return picture.clip(0, 1), trunk | crown


def _round_crown(rng: Random, height: int, width: int) -> np.ndarray:
    crown = ellipse(height, width, (0.5, 0.38), (0.34, 0.32))
    for angle in np.arange(7) * (2 * np.pi / 7) + rng.uniform(0, 1):
        center = (0.5 + 0.26 * np.cos(angle), 0.38 + 0.22 * np.sin(angle))
        crown |= ellipse(height, width, center, rng.uniform(0.13, 0.22, 2))
    return crown


def _conifer_crown(rng: Random, height: int, width: int) -> np.ndarray:
    crown = np.zeros((height, width), bool)
    steps = int(rng.integers(3, 6))
    for step in range(steps):
        top, bottom = 0.75 * step / steps, 0.9 * (step + 1) / steps + 0.02
        reach = 0.18 + 0.30 * (step + 1) / steps
        crown |= polygon(height, width, [(0.5, top), (0.5 + reach, bottom), (0.5 - reach, bottom)])
    return crown


def building(rng: Random, height: int, width: int) -> Sprite:
    """A front with rows of windows and a flat or gabled roof."""
    height, width = max(height, 14), max(width, 10)
    wall = pick(rng, WALLS)
    picture = textured(wall, noise(rng, height, width, 2.0, 2.0), 0.07) * gradient(
        (1.05,) * 3, (0.85,) * 3, height, width
    )
    gable = 0.0 if height > 1.4 * width or rng.random() < 0.4 else rng.uniform(0.2, 0.35)
    mask = polygon(
        height, width, [(0, gable), (0.5, 0), (1, gable), (1, 1), (0, 1)] if gable else [(0, 0), (1, 0), (1, 1), (0, 1)]
    )
    if gable:
        rows = np.arange(height)[:, None, None] < gable * height
        tiles = textured(pick(rng, ROOFS), noise(rng, height, width, 2.0, 6.0), 0.2)
        picture = np.where(rows, tiles, picture)
    else:
        picture[: max(2, round(0.03 * height))] *= 0.7
    _cut_windows(rng, picture, wall, first_row=gable + 0.06)
    shadow = np.ones(width, np.float32)
    shadow[: round(width * rng.uniform(0, 0.35))] = 0.78  # the side that is turned away from the light
    return (picture * shadow[None, :, None]).clip(0, 1), mask


def _cut_windows(rng: Random, picture: np.ndarray, wall: np.ndarray, first_row: float) -> None:
    """Draw a regular grid of windows, some of them lit, into the picture."""
    height, width = picture.shape[:2]
    pane_height, pane_width = rng.uniform(6, 10), rng.uniform(5, 9)
    gap = rng.uniform(1.6, 2.2)
    dark = wall * rng.uniform(0.3, 0.55) + np.float32([0.02, 0.04, 0.07])
    lit = np.float32([0.95, 0.85, 0.55]) * rng.uniform(0.6, 1)
    share_lit = rng.choice([0.0, 0.1, 0.4])
    for y in np.arange(first_row * height + 2, height - pane_height - 2, pane_height * gap):
        for x in np.arange(pane_width * 0.6, width - pane_width * 1.2, pane_width * gap):
            window = picture[round(y) : round(y + pane_height), round(x) : round(x + pane_width)]
            window[...] = lit if rng.random() < share_lit else dark * rng.uniform(0.85, 1.15)


def car(rng: Random, height: int, along: bool) -> Sprite:
    """A car, seen from behind or from the front if the road leads `along` the line of sight, else from the side."""
    return _car_end(rng, max(height, 12)) if along else _car_side(rng, max(height, 12))


def _car_end(rng: Random, height: int) -> Sprite:
    width = round(height * rng.uniform(1.15, 1.35))
    body = polygon(height, width, [(0.04, 0.45), (0.96, 0.45), (1, 0.55), (0.98, 0.88), (0.02, 0.88), (0, 0.55)])
    cabin = polygon(height, width, [(0.08, 0.48), (0.2, 0.04), (0.8, 0.04), (0.92, 0.48)])
    wheels = polygon(height, width, [(0.05, 0.8), (0.24, 0.8), (0.24, 1), (0.05, 1)])
    wheels |= polygon(height, width, [(0.76, 0.8), (0.95, 0.8), (0.95, 1), (0.76, 1)])
    picture = gradient((1.2,) * 3, (0.75,) * 3, height, width) * pick(rng, PAINTS)
    picture[wheels & ~body] = (0.06, 0.06, 0.07)
    glass = polygon(height, width, [(0.17, 0.42), (0.26, 0.11), (0.74, 0.11), (0.83, 0.42)])
    picture[glass] = pick(rng, [(0.15, 0.18, 0.22), (0.40, 0.48, 0.55)])
    light = (0.98, 0.95, 0.75) if rng.random() < 0.5 else (0.80, 0.10, 0.08)
    for x in (0.14, 0.86):
        picture[ellipse(height, width, (x, 0.6), (0.09, 0.06))] = light
    picture[polygon(height, width, [(0.38, 0.7), (0.62, 0.7), (0.62, 0.78), (0.38, 0.78)])] = (0.85, 0.85, 0.80)
    return picture.clip(0, 1), body | cabin | wheels


def _car_side(rng: Random, height: int) -> Sprite:
    width = round(height * rng.uniform(2.0, 2.5))
    roof, hood = rng.uniform(0.25, 0.4), rng.uniform(0.36, 0.46)
    body = polygon(
        height, width, [(0.02, hood + 0.1), (0.2, hood), (0.95, hood), (0.99, hood + 0.12), (0.98, 0.8), (0.02, 0.8)]
    )
    cabin_points = np.array([(0.18, hood + 0.03), (roof, 0.06), (0.70, 0.06), (0.84, hood + 0.03)])
    cabin = polygon(height, width, cabin_points)
    glass = polygon(height, width, (cabin_points - (0.51, 0.28)) * (0.84, 0.68) + (0.51, 0.29))
    radius = np.array([0.2 * height / width, 0.2])
    wheels, hubs = np.zeros((2, height, width), bool)
    for x in (0.21, 0.78):
        wheels |= ellipse(height, width, (x, 0.79), radius)
        hubs |= ellipse(height, width, (x, 0.79), radius * 0.45)
    picture = gradient((1.2,) * 3, (0.7,) * 3, height, width) * pick(rng, PAINTS)
    picture[glass] = pick(rng, [(0.15, 0.18, 0.22), (0.40, 0.48, 0.55)])
    picture[:, round(width * 0.5) : round(width * 0.5) + max(1, height // 16)] *= 0.75  # the gap between the doors
    picture[wheels] = (0.06, 0.06, 0.07)
    picture[hubs] = (0.55, 0.55, 0.57)
    picture[ellipse(height, width, (0.05, 0.55), (0.03, 0.06)) & body] = (0.98, 0.95, 0.75)
    picture[ellipse(height, width, (0.965, 0.58), (0.02, 0.06)) & body] = (0.80, 0.10, 0.08)
    mask = body | cabin | wheels
    return _turn(rng, picture.clip(0, 1), mask)


def person(rng: Random, height: int) -> Sprite:
    """A standing or walking person."""
    height = max(height, 18)
    width = round(height * 0.5)
    stride, swing = rng.uniform(0.02, 0.18), rng.uniform(0.0, 0.1)
    legs = polygon(height, width, [(0.3, 0.5), (0.52, 0.5), (0.48 - stride, 1), (0.24 - stride, 1)])
    legs |= polygon(height, width, [(0.48, 0.5), (0.7, 0.5), (0.76 + stride, 1), (0.52 + stride, 1)])
    torso = polygon(height, width, [(0.24, 0.2), (0.76, 0.2), (0.72, 0.58), (0.28, 0.58)])
    torso |= ellipse(height, width, (0.5, 0.22), (0.27, 0.06))
    arms = polygon(height, width, [(0.24, 0.19), (0.36, 0.24), (0.26 - swing, 0.57), (0.1 - swing, 0.55)])
    arms |= polygon(height, width, [(0.76, 0.19), (0.64, 0.24), (0.74 + swing, 0.57), (0.9 + swing, 0.55)])
    head = ellipse(height, width, (0.5, 0.1), (0.19, 0.1))
    hair = head & (np.arange(height)[:, None] < 0.075 * height)
    picture = np.zeros((height, width, 3), np.float32)
    shirt = pick(rng, CLOTHES)
    for part, color in (
        (legs, pick(rng, CLOTHES)),
        (arms, shirt * 0.85),
        (torso, shirt),
        (head, pick(rng, SKIN)),
        (hair, pick(rng, BARK) * 0.6),
    ):
        picture[part] = color
    picture *= np.linspace(1.12, 0.85, width, dtype=np.float32)[None, :, None]
    return _turn(rng, picture.clip(0, 1), legs | torso | arms | head)


def boat(rng: Random, height: int) -> Sprite:
    """A sailing boat or a motor boat; its mast or cabin reaches `height`."""
    height = max(height, 14)
    sailing = rng.random() < 0.6
    width = round(height * (rng.uniform(0.75, 1.0) if sailing else rng.uniform(1.6, 2.1)))
    deck = 0.78 if sailing else 0.55
    hull = polygon(height, width, [(0.02, deck), (0.98, deck - 0.03), (0.84, 1), (0.14, 1)])
    picture = gradient((1.1,) * 3, (0.75,) * 3, height, width) * pick(rng, HULLS)
    stripe = hull & (np.abs(np.arange(height)[:, None] - (deck + 0.06) * height) < 0.025 * height)
    picture[stripe] = pick(rng, PAINTS)
    if sailing:
        upper = polygon(height, width, [(0.47, 0.02), (0.52, 0.02), (0.52, deck), (0.47, deck)])
        picture[upper] = (0.35, 0.27, 0.2)
        sails = polygon(height, width, [(0.54, 0.04), (0.93, deck - 0.08), (0.54, deck - 0.08)])
        sails |= polygon(height, width, [(0.45, 0.1), (0.1, deck - 0.08), (0.45, deck - 0.08)])
        picture[sails] = pick(rng, SAILS)
        upper |= sails
    else:
        upper = polygon(height, width, [(0.25, deck), (0.3, 0.05), (0.62, 0.05), (0.74, deck)])
        picture[upper] = pick(rng, HULLS)
        picture[polygon(height, width, [(0.33, 0.16), (0.60, 0.16), (0.66, 0.36), (0.31, 0.36)])] = (0.2, 0.25, 0.32)
    return _turn(rng, picture.clip(0, 1), hull | upper)


def _turn(rng: Random, picture: np.ndarray, mask: np.ndarray) -> Sprite:
    """Mirror one sprite in two."""
    if rng.random() < 0.5:
        return picture, mask
    return cv2.flip(picture, 1), mask[:, ::-1]
