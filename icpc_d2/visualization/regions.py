"""Class-specific regions of score maps, several classes on a sheet, as the paper's Figure 6."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from icpc_d2.visualization.figure import FAINT, saved_rows

# Perceptually uniform, and read alike by people of any colour vision.
COLOR_MAP = "cividis"
# Scores beyond these percentiles of the sheet have the colours of its ends.
PERCENTILES = (1, 99)
PANEL_WIDTH = 1.7


class Regions(NamedTuple):
    """A row of the sheet."""

    title: str  # beside it, such as the model's name
    image: np.ndarray  # (H, W, 3) uint8, RGB
    maps: np.ndarray  # (n, H, W), the scores of n classes
    masks: np.ndarray | None = None  # (n, H, W) bool, where the classes really are, if that is known


def draw_regions(path: str | Path, rows: Sequence[Regions], names: Sequence[str], score_name: str) -> None:
    """Draw the image and the score map of each class, all on one scale; outlines are the labels'.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        names: of the n classes.
        score_name: of the colour bar.
    """
    low, high = np.percentile(np.concatenate([row.maps.ravel() for row in rows]), PERCENTILES)
    with saved_rows(path, [row.image for row in rows], ("image", *names), PANEL_WIDTH, (0.9, 0.35)) as axes:
        for panels, row in zip(axes, rows, strict=True):
            panels[0].set_ylabel(row.title)
            for index, panel in enumerate(panels[1:]):
                mask = None if row.masks is None else row.masks[index]
                heat = _draw_map(panel, row.maps[index], mask, (low, high))
        bar = heat.figure.colorbar(heat, ax=axes, label=score_name, shrink=0.8, aspect=30)
        bar.outline.set_edgecolor(FAINT)


def _draw_map(axes: Axes, scores: np.ndarray, mask: np.ndarray | None, limits: tuple[float, float]) -> AxesImage:
    heat = axes.imshow(scores, cmap=COLOR_MAP, vmin=limits[0], vmax=limits[1])
    if mask is not None and mask.any():
        halo = [withStroke(linewidth=2.2, foreground="black")]
        axes.contour(mask, levels=[0.5], colors="white", linewidths=1.0, path_effects=halo)
    elif mask is not None:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.8}
        axes.text(0.5, 0.04, "not in this image", ha="center", fontsize=7, transform=axes.transAxes, bbox=box)
    return heat
