"""A label map laid over its image."""

import numpy as np
from PIL import Image

from icpc_d2.visualization.palette import Palette
from icpc_d2.visualization.sheet import draw_sheet

# Long side, in pixels, up to which text has its normal size; on larger images it grows with them.
NORMAL_SIDE = 900
MIN_SIDE = 400


def blend(image: np.ndarray, labels: np.ndarray, palette: Palette, alpha: float = 0.5) -> np.ndarray:
    """Tint each pixel with the colour of its class, and draw the borders between classes in full colour.

    Args:
        image: (H, W, 3) uint8, RGB; what is returned is so too.
        labels: (H, W) integers.
        palette: names and colours of the classes.
        alpha: 0 is the image alone, 1 the painted label map.

    Raises:
        ValueError: `alpha` is not in [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; wanted is a number in [0, 1].")
    painted = palette.paint(labels)
    mixed = np.round(alpha * painted.astype(np.float32) + (1 - alpha) * image).astype(np.uint8)
    return np.where(_borders(labels)[..., None], painted, mixed) if alpha else mixed


def overlay(image: np.ndarray, labels: np.ndarray, palette: Palette, alpha: float = 0.5) -> np.ndarray:
    """Draw :func:`blend`, enlarged if it is small, above a legend of its classes; (H', W', 3) uint8, RGB."""
    long_side = max(labels.shape)
    if long_side < MIN_SIDE:
        # Enlarged first, so that the borders stay thin.
        factor = -(-MIN_SIDE // long_side)
        labels = np.repeat(np.repeat(labels, factor, axis=0), factor, axis=1)
        image = np.asarray(Image.fromarray(image).resize(labels.shape[::-1], Image.Resampling.BICUBIC))
        long_side *= factor
    panel = blend(image, labels, palette, alpha)
    scale = max(1.0, long_side / NORMAL_SIDE)
    return draw_sheet({"": panel}, palette, palette.present(labels), (MIN_SIDE, long_side), scale)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Find where a pixel's neighbour at the right or below is of another class, on both sides; (H, W) bool."""
    borders = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differ = np.diff(labels, axis=axis) != 0
        size = labels.shape[axis]
        borders |= np.insert(differ, size - 1, False, axis=axis) | np.insert(differ, 0, False, axis=axis)
    return borders
