"""Images beside their label maps, which have the name of each class where it stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from icpc_d2.visualization.figure import INK, saved_rows
from icpc_d2.visualization.overlay import blend
from icpc_d2.visualization.palette import Palette

# Of a panel, in inches; classes that cover less than this share of an image are not named in it.
PANEL_WIDTH = 3.0
MIN_SHARE = 0.01
# Names nearer to a side than this share of the width begin or end there, so that none is cut off.
EDGE = 0.15


class Segmented(NamedTuple):
    """An image, its prediction, and its label if there is one."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    prediction: np.ndarray  # (H, W) integers
    label: np.ndarray | None = None  # (H, W) integers


def label_points(labels: np.ndarray, num_classes: int, min_share: float = MIN_SHARE) -> dict[int, tuple[int, int]]:
    """Find the pixel (x, y) of each class that lies deepest inside it, where its name is best read.

    Args:
        labels: (H, W) integers.
        num_classes: other values are left out.
        min_share: classes that cover less of the image are left out.
    """
    points = {}
    for index in np.unique(labels).tolist():
        mask = labels == index
        if 0 <= index < num_classes and mask.mean() >= min_share:
            # The border of the image counts as a border of the class.
            depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            points[index] = (int(x), int(y))
    return points


def draw_segmentations(path: str | Path, images: Sequence[Segmented], palette: Palette) -> None:
    """Draw a row for each image: itself, its label if all have one, the prediction over it.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        palette: names and colours of the classes.
    """
    columns = ["label", "prediction"] if all(one.label is not None for one in images) else ["prediction"]
    with saved_rows(path, [one.image for one in images], ("image", *columns), PANEL_WIDTH, (0, 0.3)) as axes:
        for row, one in zip(axes, images, strict=True):
            for panel, column in zip(row[1:], columns, strict=True):
                labels = getattr(one, column)
                panel.imshow(blend(one.image, labels, palette), interpolation="nearest")
                _write_names(panel, labels, palette)


def _write_names(axes: Axes, labels: np.ndarray, palette: Palette) -> None:
    valid = np.where(labels == palette.ignore_label, -1, labels)
    for index, (x, y) in label_points(valid, len(palette.names)).items():
        effects = [withStroke(linewidth=2.5, foreground="white")]
        place = x / labels.shape[1]
        side = "left" if place < EDGE else "right" if place > 1 - EDGE else "center"
        axes.text(x, y, palette.names[index], color=INK, ha=side, va="center", fontsize=8, path_effects=effects)
