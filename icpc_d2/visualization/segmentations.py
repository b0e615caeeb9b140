"""Pictures beside their label maps, which have the name of each class where it stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from icpc_d2.visualization.figure import INK, picture_axes, saved_figure
from icpc_d2.visualization.overlay import blend
from icpc_d2.visualization.palette import Palette

# Of a panel, in inches; classes that cover less than this share of a picture are not named in it.
PANEL_WIDTH = 3.0
MIN_SHARE = 0.01
# Names nearer to a side than this share of the width begin or end there, so that none is cut off.
EDGE = 0.15


class Segmented(NamedTuple):
    """A picture and what is known about it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        prediction: (H, W) integers.
        label: (H, W) integers; None if there is none.
    """

    image: np.ndarray
    prediction: np.ndarray
    label: np.ndarray | None = None


def label_points(labels: np.ndarray, num_classes: int, min_share: float = MIN_SHARE) -> dict[int, tuple[int, int]]:
    """For each class the pixel (x, y) that lies deepest inside it, where its name is best read.

    Args:
        labels: (H, W) integers.
        num_classes: other values are left out.
        min_share: classes that cover less of the picture are left out.
    """
    points = {}
    for index in np.unique(labels).tolist():
        mask = labels == index
        if 0 <= index < num_classes and mask.mean() >= min_share:
            # The border of the picture counts as a border of the class.
            depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            points[index] = (int(x), int(y))
    return points


def draw_segmentations(path: str | Path, pictures: Sequence[Segmented], palette: Palette) -> None:
    """Draw a row for each picture: itself, its label if all have one, the prediction over it.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        palette: names and colours of the classes.
    """
    with_labels = all(picture.label is not None for picture in pictures)
    columns = ["image", *(["label"] if with_labels else []), "prediction"]
    heights = [PANEL_WIDTH * picture.image.shape[0] / picture.image.shape[1] for picture in pictures]
    with saved_figure(path, PANEL_WIDTH * len(columns), sum(heights) + 0.3) as figure:
        axes = figure.subplots(len(pictures), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights})
        for row, picture in zip(axes, pictures, strict=True):
            row[0].imshow(picture.image)
            for panel, labels in zip(row[1:], (picture.label, picture.prediction)[-len(row[1:]) :], strict=True):
                panel.imshow(blend(picture.image, labels, palette), interpolation="nearest")
                _write_names(panel, labels, palette)
            for panel in row:
                picture_axes(panel)
        for panel, title in zip(axes[0], columns, strict=True):
            panel.set_title(title)


def _write_names(axes: Axes, labels: np.ndarray, palette: Palette) -> None:
    valid = np.where(labels == palette.ignore_label, -1, labels)
    for index, (x, y) in label_points(valid, len(palette.names)).items():
        effects = [withStroke(linewidth=2.5, foreground="white")]
        place = x / labels.shape[1]
        side = "left" if place < EDGE else "right" if place > 1 - EDGE else "center"
        axes.text(x, y, palette.names[index], color=INK, ha=side, va="center", fontsize=8, path_effects=effects)
