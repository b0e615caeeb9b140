"""Things of captioned scenes that move: vehicles, animals, and what flies.

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
    noise,
    polygon,
    random_size,
    shaded,
    stroke,
    turned,
)

# Colours, 0..1.
DARK, WOOD = (0.07, 0.07, 0.08), (0.36, 0.25, 0.16)
GLASS, LAMPLIGHT, TYRE = (0.20, 0.26, 0.33), (0.98, 0.92, 0.65), (0.05, 0.05, 0.06)


def bus(rng: Random, height: int, along: bool, paint: ColorLike) -> Sprite:
    """Draw a bus, from an end if the road leads `along` the line of sight, else from the side."""
    size = random_size(rng, height, (0.8, 0.9) if along else (2.1, 2.6))
    aspect = size[0] / size[1]
    body = box(size, 0.02, 0.03, 0.98, 0.9)
    image = shaded(size, paint)
    if along:
        wheels = box(size, 0.08, 0.85, 0.26, 1) | box(size, 0.74, 0.85, 0.92, 1)
        image[box(size, 0.1, 0.16, 0.9, 0.52)] = GLASS
        image[box(size, 0.25, 0.06, 0.75, 0.12)] = LAMPLIGHT
        image[box(size, 0.08, 0.68, 0.22, 0.76) | box(size, 0.78, 0.68, 0.92, 0.76)] = LAMPLIGHT
    else:
        wheels = np.zeros(size, bool)
        for x in (0.2, 0.78):
            wheels |= ellipse(size, (x, 0.86), (0.14 * aspect, 0.14))
        for x in np.arange(6) * 0.135 + 0.17:
            image[box(size, x, 0.16, x + 0.1, 0.48)] = GLASS
        image[box(size, 0.04, 0.16, 0.13, 0.84)] = GLASS
        image[box(size, 0.02, 0.58, 0.98, 0.63)] *= 0.6
    image[wheels] = TYRE
    return turned(rng, image, body | wheels)


def bicycle(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a bicycle from the side."""
    size = random_size(rng, height, (1.5, 1.65), 18)
    radius = np.array([0.29 * size[0] / size[1], 0.29])
    wheels = np.zeros(size, bool)
    for x in (0.2, 0.8):
        wheels |= ellipse(size, (x, 0.7), radius) & ~ellipse(size, (x, 0.7), radius * 0.72)
    crank, saddle, head = (0.45, 0.7), (0.38, 0.28), (0.7, 0.24)
    frame = stroke(size, [(0.2, 0.7), saddle, crank, (0.2, 0.7)], 0.07)
    frame |= stroke(size, [saddle, head, crank], 0.07) | stroke(size, [head, (0.8, 0.7)], 0.07)
    grips = stroke(size, [(0.3, 0.2), (0.46, 0.2)], 0.08) | stroke(size, [(0.6, 0.06), (0.68, 0.08), head], 0.07)
    image = np.zeros((*size, 3), np.float32) + np.float32(paint)
    image[(wheels | grips) & ~frame] = TYRE
    return turned(rng, image, wheels | frame | grips)


def dog(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a dog from the side: short, with its tail up."""
    size = random_size(rng, height, (1.25, 1.4))
    mask = ellipse(size, (0.5, 0.5), (0.3, 0.17))
    mask |= ellipse(size, (0.84, 0.24), (0.11, 0.15)) | box(size, 0.86, 0.22, 0.99, 0.34)
    mask |= polygon(size, [(0.66, 0.5), (0.76, 0.2), (0.9, 0.34), (0.78, 0.6)])
    mask |= stroke(size, [(0.22, 0.45), (0.1, 0.26), (0.08, 0.08)], 0.09)
    legs = np.zeros(size, bool)
    for x in (0.25, 0.36, 0.64, 0.75):
        legs |= box(size, x - 0.035, 0.5, x + 0.035, 1)
    image = shaded(size, paint, 1.25, 0.7)
    ear = ellipse(size, (0.78, 0.24), (0.045, 0.15))
    image[ear] *= 0.55
    image[ellipse(size, (0.975, 0.25), (0.03, 0.04))] = DARK
    return turned(rng, image, mask | legs | ear)


def cow(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a cow from the side: a heavy box on legs, with patches and horns, grazing or not."""
    size = random_size(rng, height, (1.5, 1.65))
    body = box(size, 0.12, 0.22, 0.76, 0.66) | ellipse(size, (0.44, 0.6), (0.3, 0.14))
    drop = 0.4 if rng.random() < 0.4 else 0.0
    head = polygon(size, [(0.7, 0.24), (0.84, 0.1 + drop), (0.99, 0.3 + drop), (0.93, 0.42 + drop), (0.74, 0.55)])
    horns = stroke(size, [(0.82, 0.13 + drop), (0.85, 0.01 + drop)], 0.06)
    legs = stroke(size, [(0.13, 0.26), (0.06, 0.6)], 0.05)
    for x in (0.17, 0.28, 0.62, 0.72):
        legs |= box(size, x - 0.03, 0.6, x + 0.03, 1)
    image = shaded(size, paint, 1.15, 0.75)
    dark = float(np.mean(paint)) < 0.5
    patches = (noise(rng, size, size[0] / 3, size[0] / 3) > 0.35) & body
    image[patches] = (0.92, 0.91, 0.88) if dark else DARK
    image[horns] = (0.85, 0.8, 0.68)
    image[polygon(size, [(0.9, 0.2 + drop), (0.99, 0.3 + drop), (0.93, 0.42 + drop)])] = (0.75, 0.52, 0.48)
    return turned(rng, image, body | head | horns | legs)


def bird(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a flying bird with its wings up."""
    size = random_size(rng, height, (1.7, 2.1))
    lift = rng.uniform(0.0, 0.12)
    wings = polygon(size, [(0.5, 0.78), (0.3, lift + 0.1), (0.0, lift), (0.24, 0.36), (0.4, 0.95)])
    wings |= polygon(size, [(0.46, 0.78), (0.7, lift + 0.1), (1.0, lift), (0.76, 0.36), (0.58, 0.95)])
    body = ellipse(size, (0.5, 0.78), (0.17, 0.2)) | ellipse(size, (0.66, 0.68), (0.06, 0.12))
    image = shaded(size, paint, 1.0, 1.0)
    image[wings] *= 0.85
    image[polygon(size, [(0.7, 0.64), (0.78, 0.7), (0.7, 0.74)])] = (0.9, 0.55, 0.1)
    return turned(rng, image, wings | body | polygon(size, [(0.7, 0.64), (0.78, 0.7), (0.7, 0.74)]))


def plane(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a plane from the side, with wings and tail."""
    size = random_size(rng, height, (2.3, 2.7))
    body = ellipse(size, (0.5, 0.5), (0.48, 0.17)) | box(size, 0.12, 0.38, 0.8, 0.62)
    tail = polygon(size, [(0.02, 0.0), (0.1, 0.0), (0.24, 0.42), (0.06, 0.5)])
    wing = polygon(size, [(0.42, 0.52), (0.6, 0.52), (0.4, 1.0), (0.3, 1.0)])
    wing |= polygon(size, [(0.46, 0.36), (0.56, 0.36), (0.44, 0.08), (0.38, 0.08)])
    image = shaded(size, paint, 1.1, 0.85)
    image[wing] *= 0.75
    for x in np.arange(9) * 0.07 + 0.2:
        image[box(size, x, 0.4, x + 0.03, 0.5)] = GLASS
    image[polygon(size, [(0.86, 0.36), (0.93, 0.42), (0.93, 0.48), (0.86, 0.48)])] = GLASS
    return turned(rng, image, body | tail | wing)


def balloon(rng: Random, height: int, paint: ColorLike) -> Sprite:
    """Draw a hot-air balloon with its basket and pale stripes."""
    size = random_size(rng, height, (0.66, 0.72), 24)
    envelope = ellipse(size, (0.5, 0.36), (0.49, 0.36))
    envelope |= polygon(size, [(0.1, 0.53), (0.9, 0.53), (0.6, 0.82), (0.4, 0.82)])
    ropes = stroke(size, [(0.42, 0.8), (0.42, 0.9)], 0.02) | stroke(size, [(0.58, 0.8), (0.58, 0.9)], 0.02)
    basket = box(size, 0.38, 0.88, 0.62, 1)
    image = np.zeros((*size, 3), np.float32) + np.float32(paint)
    for reach in (0.12, 0.36):
        rim = ellipse(size, (0.5, 0.4), (reach + 0.04, 0.42)) & ~ellipse(size, (0.5, 0.4), (reach - 0.04, 0.42))
        image[rim] = image[rim] * 0.5 + 0.42
    image *= np.linspace(1.15, 0.75, size[1], dtype=np.float32)[None, :, None]
    image[basket] = WOOD
    image[ropes] = DARK
    return turned(rng, image, envelope | ropes | basket)
