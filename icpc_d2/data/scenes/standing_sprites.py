"""Things of captioned scenes that stand where they were built.

Each is a sprite about `height` pixels high, of a given paint 0..1, and never has a label. They are told apart by
their outlines.
"""

import numpy as np

from icpc_d2.data.scenes.drawing import (
    ColorLike,
    Random,
    Sprite,
    box,
    ellipse,
    gradient,
    noise,
    polygon,
    random_size,
    shaded,
    stroke,
    textured,
    turned,
)

# Colours, 0..1.
DARK, METAL, LAMPLIGHT = (0.07, 0.07, 0.08), (0.32, 0.33, 0.35), (0.98, 0.92, 0.65)


def bridge(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a bridge of round arches."""
    size = random_size(rng, height, (3.2, 4.2), 20)
    mask = box(size, 0, 0.08, 1, 1)
    image = textured(paint, noise(rng, size, 3.0, 7.0), 0.12) * gradient(1.1, 0.85, size)
    arches = int(rng.integers(2, 5))
    for x in (np.arange(arches) + 0.5) / arches:
        mask &= ~(
            ellipse(size, (x, 0.95), (0.36 / arches, 0.58)) | box(size, x - 0.36 / arches, 0.95, x + 0.36 / arches, 1)
        )
    image[box(size, 0, 0.2, 1, 0.25)] *= 0.55
    for x in np.linspace(0.01, 0.95, 14):
        mask |= box(size, x, 0, x + 0.025, 0.1)
    return image.clip(0, 1), mask


def tower(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a round stone tower, with battlements or with a pointed roof."""
    size = random_size(rng, height, (0.3, 0.38), 30)
    pointed = rng.random() < 0.5
    mask = box(size, 0.18, 0.2, 0.82, 1) | box(size, 0.06, 0.2, 0.94, 0.32)
    image = textured(paint, noise(rng, size, 2.5, 5.0), 0.14)
    image *= np.linspace(1.2, 0.65, size[1], dtype=np.float32)[None, :, None]
    if pointed:
        roof = polygon(size, [(0, 0.22), (0.5, 0), (1, 0.22)])
        mask |= roof
        image[roof] = np.float32([0.4, 0.16, 0.12]) * rng.uniform(0.7, 1.2)
    else:
        for x in (0.06, 0.31, 0.56, 0.79):
            mask |= box(size, x, 0.12, x + 0.15, 0.22)
    for y in (0.42, 0.62):
        image[box(size, 0.42, y, 0.58, y + 0.08)] = DARK
    image[box(size, 0.38, 0.88, 0.62, 1)] = DARK
    return turned(rng, image, mask)


def windmill(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a windmill with four sails."""
    size = random_size(rng, height, (0.85, 0.95), 30)
    body = polygon(size, [(0.4, 0.3), (0.6, 0.3), (0.7, 1), (0.3, 1)]) | ellipse(size, (0.5, 0.31), (0.12, 0.09))
    image = shaded(size, paint, 1.1, 0.85)
    image[ellipse(size, (0.5, 0.3), (0.12, 0.08)) & ~box(size, 0, 0.32, 1, 1)] = (0.3, 0.18, 0.14)
    image[box(size, 0.45, 0.86, 0.55, 1) | box(size, 0.46, 0.52, 0.54, 0.6)] = DARK
    sails = np.zeros(size, bool)
    for angle in rng.uniform(0.2, 1.37) + np.arange(4) * np.pi / 2:
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        corners = [0.08 * along, 0.4 * along, 0.4 * along + 0.1 * across, 0.08 * along + 0.1 * across]
        sails |= polygon(size, [(0.5 + x, 0.32 + 0.8 * y) for x, y in corners])
        sails |= stroke(size, [(0.5, 0.32), (0.5 + 0.42 * along[0], 0.32 + 0.34 * along[1])], 0.025)
    image[sails] = (0.86, 0.83, 0.76) if float(np.mean(paint)) < 0.6 else (0.42, 0.34, 0.28)
    return turned(rng, image, body | sails)


def tent(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a ridge tent with an open entrance."""
    size = random_size(rng, height, (1.5, 1.9))
    front = polygon(size, [(0.35, 0.03), (0.68, 1), (0.02, 1)])
    side = polygon(size, [(0.35, 0.03), (0.84, 0.12), (0.99, 1), (0.68, 1)])
    image = np.zeros((*size, 3), np.float32) + np.float32(paint)
    image[side] *= 0.7
    image[polygon(size, [(0.35, 0.3), (0.48, 1), (0.24, 1)])] = DARK
    return turned(rng, image, front | side)


def bench(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a park bench from the front."""
    size = random_size(rng, height, (1.9, 2.3))
    planks = box(size, 0.03, 0.02, 0.97, 0.16) | box(size, 0.03, 0.24, 0.97, 0.38)
    seat = box(size, 0, 0.52, 1, 0.68)
    posts = np.zeros(size, bool)
    for x in (0.06, 0.88):
        posts |= box(size, x, 0, x + 0.06, 1)
    image = shaded(size, paint, 1.1, 1.0)
    image[seat] *= 1.2
    image[posts & ~planks & ~seat] = DARK
    return image.clip(0, 1), planks | seat | posts


def fence(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a picket fence."""
    size = random_size(rng, height, (3.5, 5.0))
    mask = box(size, 0, 0.28, 1, 0.4) | box(size, 0, 0.68, 1, 0.8)
    pickets = round(size[1] / size[0] * 2.6)
    for x in np.arange(pickets) / pickets:
        right = x + 0.5 / pickets
        mask |= polygon(size, [(x, 0.14), ((x + right) / 2, 0), (right, 0.14), (right, 1), (x, 1)])
    return shaded(size, paint, 1.1, 0.85).clip(0, 1), mask


def flag(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a flag that waves on a pole."""
    size = random_size(rng, height, (0.55, 0.65), 24)
    x = np.linspace(0.1, 0.98, 9)
    wave = 0.03 * np.sin(x * rng.uniform(7, 10) + rng.uniform(0, 6)) * (x - 0.1)
    cloth = polygon(size, [*zip(x, 0.04 + wave, strict=True), *zip(x[::-1], 0.4 + wave[::-1], strict=True)])
    pole = box(size, 0.04, 0, 0.1, 1)
    image = np.zeros((*size, 3), np.float32) + np.float32(paint)
    image *= (1 + 0.15 * np.sin(np.linspace(0, 9, size[1], dtype=np.float32)))[None, :, None]
    image[pole] = METAL
    return turned(rng, image, cloth | pole)


def street_lamp(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a street lamp: a pole, an arm, and a bright lamp."""
    size = random_size(rng, height, (0.3, 0.36), 30)
    pole = box(size, 0.14, 0.05, 0.28, 1) | box(size, 0.06, 0.94, 0.36, 1)
    arm = stroke(size, [(0.2, 0.06), (0.5, 0.02), (0.8, 0.05)], 0.025)
    lamp = polygon(size, [(0.55, 0.05), (0.98, 0.05), (0.9, 0.12), (0.62, 0.12)])
    image = shaded(size, paint, 1.0, 0.9)
    image[lamp] = LAMPLIGHT
    return turned(rng, image, pole | arm | lamp)


def sign(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a road sign, round or three-cornered, on a post."""
    size = random_size(rng, height, (0.5, 0.56), 24)
    if rng.random() < 0.5:
        plate, face = (ellipse(size, (0.5, 0.27), (reach, 0.55 * reach)) for reach in (0.48, 0.24))
    else:
        plate = polygon(size, [(0.5, 0), (1, 0.5), (0, 0.5)])
        face = polygon(size, [(0.5, 0.18), (0.74, 0.42), (0.26, 0.42)])
    post = box(size, 0.44, 0.4, 0.56, 1)
    image = np.zeros((*size, 3), np.float32) + np.float32(METAL)
    image[plate] = paint
    image[face] = (0.93, 0.93, 0.91) if float(np.mean(paint)) < 0.8 else DARK
    return turned(rng, image, plate | post)
