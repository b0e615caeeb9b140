"""Figures as they were saved, so that tests can look at what is in them."""

from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved in this test, the last one last."""
    figures: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: object, **kwargs: object) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


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
