"""Common ground of all plots: kinds of files, type, and styles that people of any colour vision can tell apart."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150
# Of Okabe and Ito, without the yellow, which is too faint on white; black is left for what belongs to no group.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
INK = "#202020"
FAINT = "#8c8c8c"

_STYLE = {
    # Text as text, and the same file from the same figures.
    "svg.fonttype": "none",
    "svg.hashsalt": "icpc_d2",
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "legend.frameon": False,
}
_METADATA = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def check_path(path: str | Path) -> Path:
    """Return the path of a figure that is to be written.

    Raises:
        ValueError: its ending is not one of :data:`SUFFIXES`.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path}: found the ending {path.suffix!r}, wanted one of {', '.join(SUFFIXES)} (pixels, or vectors twice)."
        )
    return path


@contextmanager
def saved_figure(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, and write it when it is drawn.

    Args:
        path: the file, whose folder is made; its ending says which kind.
        width, height: in inches.

    Raises:
        ValueError: see :func:`check_path`.
    """
    path = check_path(path)
    # Without pyplot, which would keep the figure and look for a screen.
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=_METADATA.get(path.suffix.lower()))


def group_style(index: int) -> tuple[str, str]:
    """Return colour and marker of the group of points number `index`; no two of the first 42 are the same."""
    return COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]


def line_style(index: int) -> tuple[str, str, str]:
    """Return colour, marker and dashes of the line number `index`; no two of the first 84 are the same."""
    return (*group_style(index), LINES[index % len(LINES)])


@contextmanager
def saved_rows(
    path: str | Path, images: Sequence[np.ndarray], titles: Sequence[str], panel: float, margin: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Yield axes in rows of equal panels, as :func:`saved_figure`; a row is as high as its image needs.

    Args:
        images: (H, W, 3), one for each row, whose first axes show it.
        titles: above the axes of the first row.
        panel: width of a panel in inches.
        margin: more width and height for what stands around the panels.
    """
    heights = [panel * image.shape[0] / image.shape[1] for image in images]
    with saved_figure(path, panel * len(titles) + margin[0], sum(heights) + margin[1]) as figure:
        axes = figure.subplots(len(images), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
        for row, image in zip(axes, images, strict=True):
            row[0].imshow(image)
        for first, title in zip(axes[0], titles, strict=True):
            first.set_title(title)
        for one in axes.flat:
            clear_axes(one)
        yield axes


def clear_axes(axes: Axes) -> None:
    """Take ticks and frame away from axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
