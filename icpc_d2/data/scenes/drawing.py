"""What the generated scenes are drawn with: noise, shapes, and a canvas that keeps picture and labels together.

Pictures are float32 RGB, 0..1, while they are drawn; sizes are in pixels of the canvas. A sprite is a picture (h, w, 3)
and a mask (h, w) of what belongs to it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

# Ids, in the order of classes/scenes_10.txt.
SKY, MOUNTAIN, WATER, GRASS, ROAD, BUILDING, TREE, CAR, PERSON, BOAT = range(10)

Color = Sequence[float] | np.ndarray
Sprite = tuple[np.ndarray, np.ndarray]
Random = np.random.Generator


def noise(rng: Random, height: int, width: int, cell_height: float, cell_width: float) -> np.ndarray:
    """Smooth noise (height, width), about -1..1, whose blobs are as large as the cells."""
    grid = rng.standard_normal((max(2, round(height / cell_height) + 1), max(2, round(width / cell_width) + 1)))
    return cv2.resize((grid * 0.5).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def fractal(rng: Random, height: int, width: int, cell: float, stretch: float = 1.0, octaves: int = 3) -> np.ndarray:
    """Noise of several sizes, the largest with blobs `cell` high and `cell * stretch` wide; about -1..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        total += noise(rng, height, width, size, size * stretch) * 0.6**octave
    return total


def textured(color: Color, texture: np.ndarray, strength: float) -> np.ndarray:
    """A flat colour made lighter and darker by a texture: (h, w, 3)."""
    return np.asarray(color, np.float32) * (1 + strength * texture[:, :, None])


def gradient(top: Color, bottom: Color, height: int, width: int) -> np.ndarray:
    """From one colour at the top to another at the bottom: (height, width, 3)."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    rows = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
    return np.repeat(rows, width, axis=1)


def polygon(height: int, width: int, points: Sequence[Sequence[float]]) -> np.ndarray:
    """Mask (height, width) of a polygon whose (x, y) are shares of width and height."""
    mask = np.zeros((height, width), np.uint8)
    corners = np.round(np.asarray(points, np.float64) * (width - 1, height - 1)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1)
    return mask.astype(bool)


def ellipse(height: int, width: int, center: Sequence[float], radius: Sequence[float]) -> np.ndarray:
    """Mask (height, width) of an ellipse; centre and radii (x, y) are shares of width and height."""
    x = (np.arange(width, dtype=np.float32) / max(width - 1, 1) - center[0]) / radius[0]
    y = (np.arange(height, dtype=np.float32) / max(height - 1, 1) - center[1]) / radius[1]
    return x[None, :] ** 2 + y[:, None] ** 2 <= 1


def pick(rng: Random, colors: Sequence[Color], spread: float = 0.06) -> np.ndarray:
    """One of the colours, slightly changed: (3,)."""
    color = np.asarray(colors[rng.integers(len(colors))], np.float32)
    return (color + rng.normal(0, spread / 2) + rng.normal(0, spread / 3, 3)).clip(0.02, 1).astype(np.float32)


class Canvas:
    """A picture and its label map, painted over from far to near.

    Attributes:
        image: (height, width, 3) float32, 0..1.
        label: (height, width) uint8.
        haze: colour of far air, (3,).
    """

    def __init__(self, height: int, width: int, haze: Color) -> None:
        self.image = np.zeros((height, width, 3), np.float32)
        self.label = np.zeros((height, width), np.uint8)
        self.haze = np.asarray(haze, np.float32)

    def paint(self, picture: np.ndarray, mask: np.ndarray, label: int, distance: float = 0.0) -> None:
        """Paint the whole canvas where `mask` holds; `distance` 0..1 is how much haze lies in front of it."""
        self.paste((picture, mask), 0, 0, label, distance)

    def paste(self, sprite: Sprite, x: int, y: int, label: int, distance: float = 0.0) -> None:
        """Paint a sprite with its upper left corner at (x, y); what lies outside is cut off."""
        picture, mask = sprite
        height, width = self.label.shape
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + mask.shape[0], height), min(x + mask.shape[1], width)
        if top >= bottom or left >= right:
            return
        inside = slice(top - y, bottom - y), slice(left - x, right - x)
        color, mask = picture[inside], mask[inside]
        if distance:
            color = color + (self.haze - color) * np.float32(distance)
        np.copyto(self.image[top:bottom, left:right], color, where=mask[:, :, None])
        self.label[top:bottom, left:right][mask] = label

    def shade(self, x: float, y: float, width: float, height: float, strength: float) -> None:
        """Darken a soft ellipse around (x, y): a shadow on the ground. Labels stay."""
        top, left = max(round(y - height), 0), max(round(x - width), 0)
        region = self.image[top : max(round(y + height), 0), left : max(round(x + width), 0)]
        if region.size:
            rows = (np.arange(region.shape[0], dtype=np.float32) + top - y) / height
            columns = (np.arange(region.shape[1], dtype=np.float32) + left - x) / width
            falloff = (1 - rows[:, None] ** 2 - columns[None, :] ** 2).clip(0, 1)
            region *= 1 - strength * falloff[:, :, None]
