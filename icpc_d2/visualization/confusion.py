"""The confusion matrix beside the IoU of each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from icpc_d2.visualization.figure import COLORS, INK, saved_figure

OTHER = "all others"
# More classes than this have cells too small for numbers.
MAX_NUMBERED = 20
CELL, FRAME = 0.34, 1.6


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """Return the IoU (K,) in 0..1 of a confusion matrix (K, K); NaN where a class is not in the labels."""
    true, predicted, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    union = np.where(true > 0, true + predicted - right, 0)
    return np.divide(right, union, out=np.full(len(matrix), np.nan), where=union > 0)


def keep_largest(matrix: np.ndarray, count: int) -> tuple[np.ndarray, list[int]]:
    """Merge all but the `count` classes with most labelled pixels into one last row and column.

    Return it with the classes that it still tells apart, in their own order.
    """
    if count >= len(matrix):
        return matrix, list(range(len(matrix)))
    kept = sorted(np.argsort(-matrix.sum(axis=1), kind="stable")[:count].tolist())
    rest = np.setdiff1d(np.arange(len(matrix)), kept)
    merged = np.zeros((count + 1, count + 1), matrix.dtype)
    merged[:-1, :-1] = matrix[np.ix_(kept, kept)]
    merged[:-1, -1] = matrix[np.ix_(kept, rest)].sum(axis=1)
    merged[-1, :-1] = matrix[np.ix_(rest, kept)].sum(axis=0)
    merged[-1, -1] = matrix[np.ix_(rest, rest)].sum()
    return merged, kept


def draw_confusion(path: str | Path, matrix: np.ndarray, names: Sequence[str], max_classes: int = 30) -> None:
    """Draw the confusion matrix and the IoU, with a row for each class.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        matrix: (K, K) pixels, rows true, columns predicted.
        names: of the K classes.
        max_classes: of more, those with most labelled pixels are told apart. The mIoU in the title is that of all.
    """
    iou = class_iou(matrix)
    shown, kept = keep_largest(matrix, max_classes)
    labels = [names[index] for index in kept] + [OTHER] * (len(shown) > len(kept))
    side = FRAME + CELL * len(shown)
    with saved_figure(path, side + 2.6, side) as figure:
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [side, 2.2]})
        _draw_matrix(left, shown, labels)
        _draw_bars(right, iou[kept], len(shown))
        right.set_title(f"IoU (%)\nmean of {np.isfinite(iou).sum()} classes: {100 * np.nanmean(iou):.1f}")


def _draw_matrix(axes: Axes, matrix: np.ndarray, labels: Sequence[str]) -> None:
    shares = 100 * matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title("share of each label's pixels (%)")
    if len(labels) > MAX_NUMBERED:
        return
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            color = "white" if share > 55 else INK
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, fontsize=8)


def _draw_bars(axes: Axes, iou: np.ndarray, rows: int) -> None:
    axes.barh(range(len(iou)), np.nan_to_num(100 * iou), color=COLORS[0], height=0.7)
    for row, value in enumerate(iou):
        text = f"{100 * value:.1f}" if np.isfinite(value) else "not in the labels"
        axes.text(np.nan_to_num(100 * value) + 2, row, text, va="center", fontsize=8)
    axes.set_xlim(0, 118)
    axes.set_xticks([0, 50, 100])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(left=False, labelleft=False)
