"""The words nearest to learned context vectors, as a table whose cells are as dark as they are near."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icpc_d2.visualization.figure import FAINT, INK, saved_figure


def draw_prompt_words(path: str | Path, words: Sequence[Sequence[tuple[str, float]]]) -> None:
    """Draw a row of words for each vector.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        words: of each vector (word, cosine) pairs, the nearest first.
    """
    cosines = np.array([[cosine for _, cosine in row] for row in words])
    rows, columns = cosines.shape
    with saved_figure(path, 1.2 * columns + 1.8, 0.36 * rows + 0.9) as figure:
        axes = figure.subplots()
        # From white on, so that no vector looks near to a word that it is not near to.
        cells = axes.imshow(cosines, cmap="Blues", vmin=0, vmax=max(0.5, cosines.max()), aspect="auto")
        for (row, column), cosine in np.ndenumerate(cosines):
            color = "white" if cosine > 0.6 * cells.norm.vmax else INK
            axes.text(column, row, words[row][column][0], ha="center", va="center", color=color, parse_math=False)
        axes.set_yticks(range(rows), [f"$V_{{{index + 1}}}$" for index in range(rows)])
        axes.set_xticks(range(columns), [f"{index + 1}." for index in range(columns)])
        axes.set_title("nearest words of CLIP's vocabulary")
        bar = figure.colorbar(cells, ax=axes, label="cosine")
        bar.outline.set_edgecolor(FAINT)
