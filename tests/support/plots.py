"""What is in a figure, and whether it can be read."""

from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[str]:
    """All that is written in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def assert_legible(figure: Figure) -> None:
    """No text is smaller than 7 points, nothing leaves the figure, names on an axis do not run into each other."""
    figure.draw_without_rendering()
    assert all(text.get_fontsize() >= 7 for text in figure.findobj(Text) if text.get_text())
    width, height = figure.bbox.size
    for part in (*figure.axes, *figure.legends):
        box = part.get_tightbbox()
        assert -1 <= box.x0 <= box.x1 <= width + 1, (part, box)
        assert -1 <= box.y0 <= box.y1 <= height + 1, (part, box)
    for axes in figure.axes:
        boxes = [
            label.get_window_extent() for label in axes.get_yticklabels() if label.get_visible() and label.get_text()
        ]
        assert not [(a, b) for a, b in pairwise(boxes) if a.overlaps(b)]
