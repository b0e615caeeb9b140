"""Results of several methods with several seeds each: every run a point, mean and standard deviation beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from icpc_d2.visualization.figure import COLORS, INK, saved_figure

# Rows, in inches; points of a row are spread over this share of its height.
ROW, FRAME = 0.42, 0.9
SPREAD = 0.3


def draw_scores(path: str | Path, scores: Mapping[str, Sequence[float]], value_name: str) -> None:
    """Draw a row for each method.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        scores: name -> a value per seed; a method without any has an empty row.
        value_name: of the horizontal axis.
    """
    with saved_figure(path, 5.6, FRAME + ROW * len(scores)) as figure:
        axes = figure.subplots()
        for row, values in enumerate(map(np.array, scores.values())):
            offsets = np.linspace(-SPREAD, SPREAD, len(values)) / 2 if len(values) > 1 else np.zeros(len(values))
            axes.plot(values, row + offsets, "o", color=COLORS[0], markerfacecolor="white", label="run")
            if len(values):
                deviation = values.std(ddof=1) if len(values) > 1 else 0.0
                axes.errorbar(
                    values.mean(), row, xerr=deviation, fmt="D", color=INK, markersize=4, capsize=4, label="mean"
                )
                text = f"{values.mean():.2f}" + (f" ± {deviation:.2f}" if len(values) > 1 else "")
                axes.annotate(
                    text, (1, row), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                    va="center",
                )  # fmt: skip
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlabel(f"{value_name}: runs (circles), mean and standard deviation (diamonds)")
        axes.grid(axis="x", alpha=0.3)
