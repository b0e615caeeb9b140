"""A figure of merit over the iterations of trainings, as the paper's Figure 5."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icpc_d2.visualization.figure import line_style, saved_figure

# More bands would hide each other.
MAX_BANDS = 3


class Curve(NamedTuple):
    """The evaluations of one training."""

    iterations: Sequence[int]  # ascending
    values: Sequence[float]  # as many


def draw_curves(path: str | Path, curves: Mapping[str, Sequence[Curve]], value_name: str) -> None:
    """Draw a line for each name; of several trainings their mean, and where there are few names their range.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        curves: name -> trainings that differ in their seed alone. The mean is taken where all have a value.
        value_name: of the vertical axis.
    """
    with saved_figure(path, 5.6, 3.6) as figure:
        axes = figure.subplots()
        for index, (name, group) in enumerate(curves.items()):
            iterations, values = _together(group)
            color, marker, dashes = line_style(index)
            label = name if len(group) == 1 else f"{name} ({len(group)} runs)"
            axes.plot(iterations, values.mean(axis=0), color=color, marker=marker, linestyle=dashes, label=label)
            if len(group) > 1 and len(curves) <= MAX_BANDS:
                axes.fill_between(
                    iterations, values.min(axis=0), values.max(axis=0), color=color, alpha=0.12, linewidth=0
                )
        axes.set_xlabel("iterations")
        axes.set_ylabel(value_name)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", handlelength=3.5)


def _together(group: Sequence[Curve]) -> tuple[list[int], np.ndarray]:
    """Return the iterations that all curves have, and their values (curves, iterations)."""
    found = [dict(zip(curve.iterations, curve.values, strict=True)) for curve in group]
    shared = sorted(set.intersection(*(set(values) for values in found)))
    return shared, np.array([[values[iteration] for iteration in shared] for values in found])
