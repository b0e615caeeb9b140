"""The styles of generated scenes: a scene drawn by day becomes a night, a line drawing or a winter's day.

What is where stays the same, so that what a model loses in a style is due to the style.
"""

import cv2
import numpy as np

from icpc_d2.data.scenes.drawing import Random, SceneClass, fractal, gradient, noise

STYLES = ("day", "night", "line drawing", "snow")
# Weights of red, green and blue in brightness.
LUMA = np.float32([0.299, 0.587, 0.114])
STAR, MOON = np.float32([0.85, 0.85, 0.9]), np.float32([0.95, 0.93, 0.82])
PAPER, INK = np.float32([0.95, 0.93, 0.87]), np.float32([0.10, 0.10, 0.13])
SNOW = np.float32([0.93, 0.95, 0.99])
# How much of the snow stays on a ground.
SNOW_COVER = {SceneClass.SKY: 0.65, SceneClass.MOUNTAIN: 0.45, SceneClass.WATER: 0.2, SceneClass.ROAD: 0.45}
# How much of a ground's texture a drawing shows.
DRAWN_TEXTURE = {SceneClass.SKY: 0.0, SceneClass.GRASS: 0.0, SceneClass.WATER: 0.0, SceneClass.MOUNTAIN: 0.7}
# Height and width in pixels of the strokes that stand for ripples and blades of grass.
PEN_STROKES = {SceneClass.WATER: (2.5, 14.0), SceneClass.GRASS: (7.0, 2.0)}


def restyle(rng: Random, image: np.ndarray, label: np.ndarray, outlines: np.ndarray, style: str) -> np.ndarray:
    """Return the image of a scene in another style.

    Args:
        image: (H, W, 3) float32, 0..1, drawn by day.
        label: (H, W), classes; other values are of things without one.
        outlines: (H, W) of integers that change where one thing ends and another begins.
        style: one of STYLES.

    Raises:
        ValueError: there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"found the style {style!r}, wanted one of {', '.join(STYLES)}.")
    if style == "day":
        return image
    if style == "line drawing":
        return _line_drawing(rng, image, label, outlines)
    return (_night if style == "night" else _snow)(rng, image, label, outlines)


def _line_drawing(rng: Random, image: np.ndarray, label: np.ndarray, outlines: np.ndarray) -> np.ndarray:
    """Draw outlines and strong edges in ink, and hatch what is dark."""
    gray = cv2.GaussianBlur(image @ LUMA, (0, 0), 0.8)
    slope = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    texture = np.ones(256, np.float32)
    texture[list(DRAWN_TEXTURE)] = list(DRAWN_TEXTURE.values())
    ink = ((slope - 0.25) * 1.2).clip(0, 0.8) * texture[label]
    border = np.zeros(label.shape, np.float32)
    border[1:] = outlines[1:] != outlines[:-1]
    border[:, 1:] = np.maximum(border[:, 1:], outlines[:, 1:] != outlines[:, :-1])
    for kind, cell in PEN_STROKES.items():
        strokes = (noise(rng, label.shape, *cell) > 0.85) & (label == kind)
        ink = np.maximum(ink, cv2.GaussianBlur(strokes.astype(np.float32), (0, 0), 0.5) * 0.8)
    ink = np.maximum(ink, cv2.GaussianBlur(border, (0, 0), 0.5) * 1.3)
    y, x = np.indices(label.shape, dtype=np.float32)
    spacing = rng.uniform(3.5, 5)
    hatch = np.cos((x + y * rng.choice([-1.0, 1.0])) * (2 * np.pi / spacing)) > 0.5
    ink = np.maximum(ink, 0.55 * (hatch & (gray < 0.22) & (label != SceneClass.SKY)))
    return PAPER + (INK - PAPER) * ink.clip(0, 1)[:, :, None]


def _night(rng: Random, image: np.ndarray, label: np.ndarray, outlines: np.ndarray) -> np.ndarray:
    """Take the daylight away, and let moon, stars and lit windows shine."""
    height, width = label.shape
    sky = label == SceneClass.SKY
    ground = np.isin(label, (SceneClass.MOUNTAIN, SceneClass.WATER, SceneClass.GRASS, SceneClass.ROAD)) | sky
    gray = (image @ LUMA)[:, :, None]
    dark = (0.5 * image + 0.5 * gray) * np.float32([0.36, 0.40, 0.56])
    night_sky = gradient((0.02, 0.03, 0.09), (0.09, 0.11, 0.21), label.shape) + 0.06 * (gray - 0.6)
    stars = rng.random(label.shape, dtype=np.float32) > 0.997
    night_sky[stars] = STAR * rng.uniform(0.5, 1)
    if rng.random() < 0.6:
        center = rng.uniform(0.05, 0.95) * width, rng.uniform(0.04, 0.25) * height
        y, x = np.indices(label.shape, dtype=np.float32)
        distance = np.hypot(x - center[0], y - center[1]) / rng.uniform(5, 9)
        night_sky += (0.35 * np.exp(-0.5 * distance))[:, :, None] * MOON
        night_sky[distance < 1] = MOON
    dark = np.where(sky[:, :, None], night_sky, dark)
    red, green, blue = cv2.split(image)
    # The warm white of lamps and lit windows, which skin and paint are not.
    lights = (red > 0.55) & (green > 0.84 * red) & (blue > 0.5 * red) & (blue < 0.78 * red) & ~ground
    shining = image * lights[:, :, None] * np.float32([1.1, 1.0, 0.8])
    return np.maximum(dark, shining) + 1.2 * cv2.GaussianBlur(shining, (0, 0), 3.0)


def _snow(rng: Random, image: np.ndarray, label: np.ndarray, outlines: np.ndarray) -> np.ndarray:
    """Cover the ground and the tops of things with snow, and let it fall."""
    cover = np.zeros(256, np.float32)
    cover[list(SNOW_COVER)] = list(SNOW_COVER.values())
    cover[SceneClass.GRASS] = 0.88
    covered = cover[label]
    drifts = fractal(rng, label.shape, label.shape[0] / 8, stretch=2.0)
    covered[label == SceneClass.ROAD] += 0.4 * drifts[label == SceneClass.ROAD]
    things = ~np.isin(label, (*SNOW_COVER, SceneClass.GRASS))
    for depth in range(1, int(rng.integers(3, 6))):
        top = np.zeros_like(things)
        top[depth:] = things[depth:] & (outlines[depth:] != outlines[:-depth])
        covered[top] = np.maximum(covered[top], 0.95 - 0.1 * depth)
    trees = label == SceneClass.TREE
    covered[trees] = np.maximum(covered[trees], (0.35 + 0.5 * drifts[trees]).clip(0, 0.8))
    covered = covered.clip(0, 1)[:, :, None]
    image = image * (1 - covered) + SNOW * (1 - 0.05 * drifts[:, :, None]) * covered
    flakes = (rng.random(label.shape, dtype=np.float32) > rng.uniform(0.985, 0.995)).astype(np.float32)
    falling = (cv2.GaussianBlur(flakes, (0, 0), 0.7) * 2.2).clip(0, 0.9)[:, :, None]
    return image * (1 - falling) + falling
