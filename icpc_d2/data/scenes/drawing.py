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
Region = tuple[slice, slice]


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
    brightness = 1 + strength * texture
    return cv2.merge([brightness * channel for channel in np.asarray(color, np.float32)])


def mixed(color: np.ndarray, other: ColorLike | float, share: np.ndarray) -> np.ndarray:
    """Mix an image (h, w, 3) with another colour, whose share is (h, w)."""
    channels = zip(cv2.split(color), np.broadcast_to(np.asarray(other, np.float32), 3), strict=True)
    rest = 1 - share
    return cv2.merge([channel * rest + value * share for channel, value in channels])


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


def stroke(size: Size, points: Sequence[Sequence[float]], thickness: float) -> np.ndarray:
    """Return the mask (height, width) of a line through (x, y), in shares; its thickness is a share of the height."""
    mask = np.zeros(size, np.uint8)
    corners = np.round(np.asarray(points, np.float64) * (size[1] - 1, size[0] - 1)).astype(np.int32)
    cv2.polylines(mask, [corners], False, 1, max(1, round(thickness * size[0])))
    return mask.astype(bool)


def halved(sprite: Sprite) -> Sprite:
    """Return a sprite at half its size: its image, and how much of each pixel belongs to it, (h, w) float32 0..1."""
    image, mask = sprite
    size = (mask.shape[1] + 1) // 2, (mask.shape[0] + 1) // 2
    opaque = mask.astype(np.float32)
    cover = cv2.resize(opaque, size, interpolation=cv2.INTER_AREA)
    premultiplied = cv2.resize(np.float32(image) * opaque[:, :, None], size, interpolation=cv2.INTER_AREA)
    return premultiplied / np.maximum(cover, 1e-3)[:, :, None], cover


def ellipse(size: Size, center: Sequence[float], radius: Sequence[float]) -> np.ndarray:
    """Return the mask (height, width) of an ellipse; centre and radii (x, y) are shares of width and height."""
    y, x = (np.arange(length, dtype=np.float32) / max(length - 1, 1) for length in size)
    return ((x - center[0]) / radius[0])[None, :] ** 2 + ((y - center[1]) / radius[1])[:, None] ** 2 <= 1


def pick(rng: Random, palette: Palette, spread: float = 0.06) -> np.ndarray:
    """Pick one of the colours and change it slightly: (3,), 0..1."""
    color = np.asarray(palette[rng.integers(len(palette))], np.float32) / 100
    return (color + rng.normal(0, spread / 2) + rng.normal(0, spread / 3, 3)).clip(0.02, 1).astype(np.float32)


def random_size(rng: Random, height: int, ratio: tuple[float, float], smallest: int = 14) -> Size:
    """Return a size whose width is in a range of ratios to its height."""
    height = max(height, smallest)
    return height, round(height * rng.uniform(*ratio))


def shaded(size: Size, paint: ColorLike, top: float = 1.15, bottom: float = 0.8) -> np.ndarray:
    """Return a paint in light that falls from above, (h, w, 3)."""
    return gradient(top, bottom, size) * np.asarray(paint, np.float32)


def turned(rng: Random, image: np.ndarray, mask: np.ndarray) -> Sprite:
    """Make a sprite of an image, and mirror one in two."""
    image = image.clip(0, 1)
    return (image, mask) if rng.random() < 0.5 else (cv2.flip(image, 1), mask[:, ::-1])


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
        region, inside = self.overlap(x, y, mask.shape)
        color, mask = image[inside], mask[inside]
        if not color.size:
            return
        if distance:
            channels = zip(cv2.split(color), self.haze, strict=True)
            color = cv2.merge([channel + (haze - channel) * np.float32(distance) for channel, haze in channels])
        cv2.copyTo(np.float32(color), mask.astype(np.uint8), self.image[region])
        self.label[region][mask] = label

    def blend(self, image: np.ndarray, cover: np.ndarray, label: int, distance: float, x: int, y: int) -> None:
        """Paint as :meth:`paint`, but only `cover` (h, w) 0..1 of each pixel, which is labelled from a half on."""
        region, inside = self.overlap(x, y, cover.shape)
        color = image[inside] + (self.haze - image[inside]) * np.float32(distance)
        self.image[region] += (color - self.image[region]) * cover[inside][:, :, None]
        self.label[region][cover[inside] > 0.5] = label

    def overlap(self, x: int, y: int, size: Size) -> tuple[Region, Region]:
        """Return what a sprite with its upper left corner at (x, y) hides, and what of the sprite is not cut off."""
        spans = [
            (start, max(start, 0), min(start + length, limit))
            for start, length, limit in zip((y, x), size, self.label.shape, strict=True)
        ]
        rows, columns = (slice(first, max(first, last)) for _, first, last in spans)
        own_rows, own_columns = (slice(first - start, max(first, last) - start) for start, first, last in spans)
        return (rows, columns), (own_rows, own_columns)

    def shade(self, x: float, y: float, width: float, height: float, strength: float) -> None:
        """Darken a soft ellipse around (x, y): a shadow on the ground. Labels stay."""
        top, left = max(round(y - height), 0), max(round(x - width), 0)
        region = self.image[top : max(round(y + height), 0), left : max(round(x + width), 0)]
        rows = (np.arange(region.shape[0], dtype=np.float32) + top - y) / height
        columns = (np.arange(region.shape[1], dtype=np.float32) + left - x) / width
        falloff = (1 - rows[:, None] ** 2 - columns[None, :] ** 2).clip(0, 1)
        region *= 1 - strength * falloff[:, :, None]
