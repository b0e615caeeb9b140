"""The means of drawing generated scenes: noise, shapes, and a canvas that keeps image and labels together.

Images are float32 RGB, 0..1, while they are drawn; palettes are in percent. A size is (height, width) in pixels of the
canvas. A sprite is an image (h, w, 3) and a mask (h, w) of what belongs to it.
"""

from collections.abc import Sequence
from enum import IntEnum

import cv2
import numpy as np

SceneClass = IntEnum("SceneClass", "SKY MOUNTAIN WATER GRASS ROAD BUILDING TREE CAR PERSON BOAT", start=0)

ColorLike = Sequence[float] | np.ndarray
Palette = Sequence[tuple[int, int, int]]
Size = tuple[int, int]
Sprite = tuple[np.ndarray, np.ndarray]
Random = np.random.Generator


def noise(rng: Random, size: Size, cell_height: float, cell_width: float) -> np.ndarray:
    """Draw smooth noise (height, width), about -1..1, whose blobs are as large as the cells."""
    height, width = size
    grid = rng.standard_normal((max(2, round(height / cell_height) + 1), max(2, round(width / cell_width) + 1)))
    return cv2.resize((grid * 0.5).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def fractal(rng: Random, size: Size, cell: float, stretch: float = 1.0) -> np.ndarray:
    """Draw noise of three sizes, the largest with blobs `cell` high and `cell * stretch` wide; about -1..1."""
    cells = [max(cell / 2**octave, 1.0) for octave in range(3)]
    return sum(noise(rng, size, cell, cell * stretch) * 0.6**octave for octave, cell in enumerate(cells))


def textured(color: ColorLike, texture: np.ndarray, strength: float) -> np.ndarray:
    """Make a flat colour lighter and darker by a texture: (h, w, 3)."""
    return np.asarray(color, np.float32) * (1 + strength * texture[:, :, None])


def gradient(top: ColorLike | float, bottom: ColorLike | float, size: Size) -> np.ndarray:
    """Blend from one colour or brightness at the top to another at the bottom: (height, width, 3 or 1)."""
    t = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    rows = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
    return np.repeat(rows, size[1], axis=1)


def polygon(size: Size, points: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the mask (height, width) of a polygon whose (x, y) are shares of width and height."""
    mask = np.zeros(size, np.uint8)
    corners = np.round(np.asarray(points, np.float64) * (size[1] - 1, size[0] - 1)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1)
    return mask.astype(bool)


def box(size: Size, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the mask (height, width) of a rectangle whose sides are shares of width and height."""
    return polygon(size, [(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(size: Size, center: Sequence[float], radius: Sequence[float]) -> np.ndarray:
    """Return the mask (height, width) of an ellipse; centre and radii (x, y) are shares of width and height."""
    y, x = (np.arange(length, dtype=np.float32) / max(length - 1, 1) for length in size)
    return ((x - center[0]) / radius[0])[None, :] ** 2 + ((y - center[1]) / radius[1])[:, None] ** 2 <= 1


def pick(rng: Random, palette: Palette, spread: float = 0.06) -> np.ndarray:
    """Pick one of the colours and change it slightly: (3,), 0..1."""
    color = np.asarray(palette[rng.integers(len(palette))], np.float32) / 100
    return (color + rng.normal(0, spread / 2) + rng.normal(0, spread / 3, 3)).clip(0.02, 1).astype(np.float32)


class Canvas:
    """An image and its label map, painted over from far to near.

    Attributes:
        image: (height, width, 3) float32, 0..1.
        label: (height, width) uint8.
        haze: colour of far air, (3,).
    """

    def __init__(self, size: Size, haze: ColorLike) -> None:
        self.image = np.zeros((*size, 3), np.float32)
        self.label = np.zeros(size, np.uint8)
        self.haze = np.asarray(haze, np.float32)

    def paint(self, sprite: Sprite, label: int, distance: float = 0.0, x: int = 0, y: int = 0) -> None:
        """Paint a sprite with its upper left corner at (x, y), in haze of `distance` 0..1; what lies outside is cut."""
        image, mask = sprite
        height, width = self.label.shape
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + mask.shape[0], height), min(x + mask.shape[1], width)
        if top >= bottom or left >= right:
            return
        inside = slice(top - y, bottom - y), slice(left - x, right - x)
        color, mask = image[inside], mask[inside]
        if distance:
            color = color + (self.haze - color) * np.float32(distance)
        np.copyto(self.image[top:bottom, left:right], color, where=mask[:, :, None])
        self.label[top:bottom, left:right][mask] = label

    def shade(self, x: float, y: float, width: float, height: float, strength: float) -> None:
        """Darken a soft ellipse around (x, y): a shadow on the ground. Labels stay."""
        top, left = max(round(y - height), 0), max(round(x - width), 0)
        region = self.image[top : max(round(y + height), 0), left : max(round(x + width), 0)]
        rows = (np.arange(region.shape[0], dtype=np.float32) + top - y) / height
        columns = (np.arange(region.shape[1], dtype=np.float32) + left - x) / width
        falloff = (1 - rows[:, None] ** 2 - columns[None, :] ** 2).clip(0, 1)
        region *= 1 - strength * falloff[:, :, None]
