"""Images in rows and columns, each with its caption below."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np

from icpc_d2.visualization.figure import saved_rows

# Of a panel, in inches; letters of a caption that go below one, in lines of this height.
CAPTIONED_PANEL_WIDTH = 2.4
LETTERS, LINE_HEIGHT, FONT_SIZE = 36, 0.14, 8


class CaptionedImage(NamedTuple):
    """An image, (H, W, 3) uint8 RGB, and a sentence about it."""

    image: np.ndarray
    caption: str


def draw_captioned_images(path: str | Path, rows: Sequence[Sequence[CaptionedImage]], titles: Sequence[str]) -> None:
    """Draw rows of images above their captions.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        rows: as many images in each as there are titles.
        titles: of the columns.
    """
    texts = [[fill(one.caption, LETTERS) for one in row] for row in rows]
    lines = sum(max(text.count("\n") + 1 for text in row) for row in texts)
    height = 0.4 + lines * LINE_HEIGHT + 0.1 * len(rows)
    with saved_rows(path, [row[0].image for row in rows], titles, CAPTIONED_PANEL_WIDTH, (0, height)) as axes:
        for panels, row, row_texts in zip(axes, rows, texts, strict=True):
            for panel, one, text in zip(panels, row, row_texts, strict=True):
                panel.imshow(one.image)
                panel.set_xlabel(text, fontsize=FONT_SIZE)
