"""The things of the generated scenes, each a sprite: tree, building, car, person, boat.

Their colours overlap with each other's and with the ground's on purpose: a grey car on a grey road before a grey
building is told apart by its shape, not by its colour. Who wants to know the colour gives it as `paint`, 0..1.
"""

import numpy as np

from icpc_d2.data.scenes.drawing import (
    ColorLike,
    Palette,
    Random,
    Sprite,
    box,
    ellipse,
    fractal,
    gradient,
    noise,
    pick,
    polygon,
    textured,
    turned,
)

# Palettes in percent.
FOLIAGE = [(16, 34, 12), (25, 42, 16), (10, 24, 12), (55, 38, 12), (52, 22, 12)]
BARK = [(30, 21, 14), (38, 34, 30)]
WALLS = [(55, 55, 56), (36, 37, 40), (60, 33, 25), (78, 70, 56), (46, 58, 70), (85, 84, 80)]
ROOFS = [(45, 20, 15), (28, 28, 30), (40, 32, 25)]
PAINTS = [(70, 10, 10), (12, 22, 52), (50, 52, 54), (88, 88, 86), (12, 12, 13), (20, 36, 22), (80, 62, 15)]
CAR_GLASS = [(15, 18, 22), (40, 48, 55)]
CLOTHES = [(15, 18, 30), (65, 15, 15), (85, 82, 78), (20, 38, 25), (30, 30, 32), (80, 60, 20), (35, 50, 70)]
SKIN = [(87, 68, 55), (60, 42, 30), (36, 24, 17)]
HULLS = [(90, 90, 88), (20, 25, 40), (55, 18, 14), (42, 30, 20), (50, 55, 58)]
SAILS = [(94, 93, 90), (80, 35, 20), (75, 78, 82)]
# Colours, 0..1.
TYRE, WHITE_LIGHT, RED_LIGHT = (0.06, 0.06, 0.07), (0.98, 0.95, 0.75), (0.80, 0.10, 0.08)


def tree(rng: Random, height: int, paint: ColorLike | None = None) -> Sprite:
    """Draw a broad-leaved tree or a conifer, `height` pixels high."""
    height = max(height, 12)
    conifer = rng.random() < 0.35
    size = height, max(8, round(height * (rng.uniform(0.4, 0.55) if conifer else rng.uniform(0.6, 0.95))))
    if conifer:
        crown = np.zeros(size, bool)
        steps = int(rng.integers(3, 6))
        for step in range(steps):
            top, bottom = 0.75 * step / steps, 0.9 * (step + 1) / steps + 0.02
            reach = 0.18 + 0.30 * (step + 1) / steps
            crown |= polygon(size, [(0.5, top), (0.5 + reach, bottom), (0.5 - reach, bottom)])
    else:
        crown = ellipse(size, (0.5, 0.38), (0.34, 0.32))
        for angle in np.arange(7) * (2 * np.pi / 7) + rng.uniform(0, 1):
            center = (0.5 + 0.26 * np.cos(angle), 0.38 + 0.22 * np.sin(angle))
            crown |= ellipse(size, center, rng.uniform(0.13, 0.22, 2))
    leaves = fractal(rng, size, max(height / 9, 3.0)) + 0.5 * noise(rng, size, 2.0, 2.0)
    image = textured(_paint_or(rng, FOLIAGE, paint), leaves, 0.45) * gradient(1.25, 0.7, size)
    half = rng.uniform(0.035, 0.06)
    trunk = polygon(size, [(0.5 - half, 0.5), (0.5 + half, 0.5), (0.5 + 1.5 * half, 1), (0.5 - 1.5 * half, 1)])
    bark = textured(pick(rng, BARK), noise(rng, size, 8.0, 2.0), 0.3)
    image = np.where((trunk & ~crown)[:, :, None], bark, image)
    return image.clip(0, 1), trunk | crown


def building(rng: Random, height: int, scale: float, paint: ColorLike | None = None) -> Sprite:
    """Draw a front with rows of windows, some of them lit, and a flat or gabled roof; as wide as a share of `scale`."""
    height, width = size = max(height, 14), max(round(scale * rng.uniform(0.5, 1.1)), 10)
    wall = _paint_or(rng, WALLS, paint)
    image = textured(wall, noise(rng, size, 2.0, 2.0), 0.07) * gradient(1.05, 0.85, size)
    gable = 0.0 if height > 1.4 * width or rng.random() < 0.4 else rng.uniform(0.2, 0.35)
    if gable:
        mask = polygon(size, [(0, gable), (0.5, 0), (1, gable), (1, 1), (0, 1)])
        tiles = textured(pick(rng, ROOFS), noise(rng, size, 2.0, 6.0), 0.2)
        image = np.where(np.arange(height)[:, None, None] < gable * height, tiles, image)
    else:
        mask = np.ones(size, bool)
        image[: max(2, round(0.03 * height))] *= 0.7
    pane_height, pane_width = rng.uniform(6, 10), rng.uniform(5, 9)
    gap = rng.uniform(1.6, 2.2)
    dark = wall * rng.uniform(0.3, 0.55) + np.float32([0.02, 0.04, 0.07])
    lit = np.float32([0.95, 0.85, 0.55]) * rng.uniform(0.6, 1)
    share_lit = rng.choice([0.0, 0.1, 0.4])
    for y in np.arange((gable + 0.06) * height + 2, height - pane_height - 2, pane_height * gap):
        for x in np.arange(pane_width * 0.6, width - pane_width * 1.2, pane_width * gap):
            window = image[round(y) : round(y + pane_height), round(x) : round(x + pane_width)]
            window[...] = lit if rng.random() < share_lit else dark * rng.uniform(0.85, 1.15)
    shadow = np.ones(width, np.float32)
    shadow[: round(width * rng.uniform(0, 0.35))] = 0.78  # the side that is turned away from the light
    return (image * shadow[None, :, None]).clip(0, 1), mask


def car(rng: Random, height: int, along: bool, paint: ColorLike | None = None) -> Sprite:
    """Draw a car, from behind or from the front if the road leads `along` the line of sight, else from the side."""
    return (_car_end if along else _car_side)(rng, max(height, 12), paint)


def _car_end(rng: Random, height: int, paint: ColorLike | None) -> Sprite:
    size = height, round(height * rng.uniform(1.15, 1.35))
    body = polygon(size, [(0.04, 0.45), (0.96, 0.45), (1, 0.55), (0.98, 0.88), (0.02, 0.88), (0, 0.55)])
    cabin = polygon(size, [(0.08, 0.48), (0.2, 0.04), (0.8, 0.04), (0.92, 0.48)])
    wheels = box(size, 0.05, 0.8, 0.24, 1) | box(size, 0.76, 0.8, 0.95, 1)
    image = gradient(1.2, 0.75, size) * _paint_or(rng, PAINTS, paint)
    image[wheels & ~body] = TYRE
    image[polygon(size, [(0.17, 0.42), (0.26, 0.11), (0.74, 0.11), (0.83, 0.42)])] = pick(rng, CAR_GLASS)
    light = WHITE_LIGHT if rng.random() < 0.5 else RED_LIGHT
    for x in (0.14, 0.86):
        image[ellipse(size, (x, 0.6), (0.09, 0.06))] = light
    image[box(size, 0.38, 0.7, 0.62, 0.78)] = (0.85, 0.85, 0.80)
    return image.clip(0, 1), body | cabin | wheels


def _car_side(rng: Random, height: int, paint: ColorLike | None) -> Sprite:
    height, width = size = height, round(height * rng.uniform(2.0, 2.5))
    roof, hood = rng.uniform(0.25, 0.4), rng.uniform(0.36, 0.46)
    outline = [(0.02, hood + 0.1), (0.2, hood), (0.95, hood), (0.99, hood + 0.12), (0.98, 0.8), (0.02, 0.8)]
    body = polygon(size, outline)
    cabin_points = np.array([(0.18, hood + 0.03), (roof, 0.06), (0.70, 0.06), (0.84, hood + 0.03)])
    cabin = polygon(size, cabin_points)
    radius = np.array([0.2 * height / width, 0.2])
    wheels, hubs = (
        ellipse(size, (0.21, 0.79), radius * part) | ellipse(size, (0.78, 0.79), radius * part) for part in (1, 0.45)
    )
    image = gradient(1.2, 0.7, size) * _paint_or(rng, PAINTS, paint)
    image[polygon(size, (cabin_points - (0.51, 0.28)) * (0.84, 0.68) + (0.51, 0.29))] = pick(rng, CAR_GLASS)
    image[:, round(width * 0.5) : round(width * 0.5) + max(1, height // 16)] *= 0.75  # the gap between the doors
    image[wheels] = TYRE
    image[hubs] = (0.55, 0.55, 0.57)
    image[ellipse(size, (0.05, 0.55), (0.03, 0.06)) & body] = WHITE_LIGHT
    image[ellipse(size, (0.965, 0.58), (0.02, 0.06)) & body] = RED_LIGHT
    return turned(rng, image, body | cabin | wheels)


def person(rng: Random, height: int, paint: ColorLike | None = None) -> Sprite:
    """Draw a standing or walking person, whose shirt may have a given paint."""
    height = max(height, 18)
    height, width = size = height, round(height * 0.5)
    stride, swing = rng.uniform(0.02, 0.18), rng.uniform(0.0, 0.1)
    legs = polygon(size, [(0.3, 0.5), (0.52, 0.5), (0.48 - stride, 1), (0.24 - stride, 1)])
    legs |= polygon(size, [(0.48, 0.5), (0.7, 0.5), (0.76 + stride, 1), (0.52 + stride, 1)])
    torso = polygon(size, [(0.24, 0.2), (0.76, 0.2), (0.72, 0.58), (0.28, 0.58)])
    torso |= ellipse(size, (0.5, 0.22), (0.27, 0.06))
    arms = polygon(size, [(0.24, 0.19), (0.36, 0.24), (0.26 - swing, 0.57), (0.1 - swing, 0.55)])
    arms |= polygon(size, [(0.76, 0.19), (0.64, 0.24), (0.74 + swing, 0.57), (0.9 + swing, 0.55)])
    head = ellipse(size, (0.5, 0.1), (0.19, 0.1))
    hair = head & (np.arange(height)[:, None] < 0.075 * height)
    image = np.zeros((*size, 3), np.float32)
    shirt = _paint_or(rng, CLOTHES, paint)
    image[legs] = pick(rng, CLOTHES)
    image[arms] = shirt * 0.85
    image[torso] = shirt
    image[head] = pick(rng, SKIN)
    image[hair] = pick(rng, BARK) * 0.6
    image *= np.linspace(1.12, 0.85, width, dtype=np.float32)[None, :, None]
    return turned(rng, image, legs | torso | arms | head)


def boat(rng: Random, height: int, paint: ColorLike | None = None) -> Sprite:
    """Draw a sailing boat or a motor boat; its mast or cabin reaches `height`."""
    height = max(height, 14)
    sailing = rng.random() < 0.6
    size = height, round(height * (rng.uniform(0.75, 1.0) if sailing else rng.uniform(1.6, 2.1)))
    deck = 0.78 if sailing else 0.55
    hull = polygon(size, [(0.02, deck), (0.98, deck - 0.03), (0.84, 1), (0.14, 1)])
    image = gradient(1.1, 0.75, size) * _paint_or(rng, HULLS, paint)
    stripe = hull & (np.abs(np.arange(height)[:, None] - (deck + 0.06) * height) < 0.025 * height)
    image[stripe] = pick(rng, PAINTS)
    if sailing:
        upper = box(size, 0.47, 0.02, 0.52, deck)
        image[upper] = (0.35, 0.27, 0.2)
        sails = polygon(size, [(0.54, 0.04), (0.93, deck - 0.08), (0.54, deck - 0.08)])
        sails |= polygon(size, [(0.45, 0.1), (0.1, deck - 0.08), (0.45, deck - 0.08)])
        image[sails] = pick(rng, SAILS)
        upper |= sails
    else:
        upper = polygon(size, [(0.25, deck), (0.3, 0.05), (0.62, 0.05), (0.74, deck)])
        image[upper] = _paint_or(rng, HULLS, paint)
        image[polygon(size, [(0.33, 0.16), (0.60, 0.16), (0.66, 0.36), (0.31, 0.36)])] = (0.2, 0.25, 0.32)
    return turned(rng, image, hull | upper)


def _paint_or(rng: Random, palette: Palette, paint: ColorLike | None) -> ColorLike:
    """Return `paint`, or pick one of a palette if there is none."""
    return pick(rng, palette) if paint is None else paint
