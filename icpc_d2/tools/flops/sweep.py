"""How the cost of an image grows with the number of classes and with its size, counted and plotted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icpc_d2.analysis.cost import Cost, count_cost
from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.visualization.figure import saved_figure

NUM_CLASSES = (19, 59, 150, 300, 500, 847, 1200, 1600, 2000)
SIZES = (256, 384, 512, 640, 768, 1024, 1280, 1536)
SIZE = 1024

Point = tuple[int, Cost]


def plot_cost_curves(
    config_file: str,
    options: Sequence[str],
    out: Path,
    num_classes: Sequence[int] = NUM_CLASSES,
    sizes: Sequence[int] = SIZES,
) -> tuple[list[Point], list[Point]]:
    """Draw GMACs of an image against K and against its side, ours beside the paper's form.

    Args:
        options: KEY VALUE pairs.
        out: picture to write, of a kind that matplotlib knows by its ending.
        num_classes: values of K, each at images of 1024 x 1024.
        sizes: sides of square images in pixels, each with the config's own classes.

    Returns:
        The counts behind the two curves.
    """
    by_classes = [(number, _count(config_file, options, number, SIZE)) for number in num_classes]
    by_size = [(size, _count(config_file, options, 0, size)) for size in sizes]
    _draw(by_classes, by_size, out)
    return by_classes, by_size


def _count(config_file: str, options: Sequence[str], num_classes: int, size: int) -> Cost:
    return count_cost(load_resolved_config(config_file, options, num_classes), size, size)


def _draw(by_classes: list[Point], by_size: list[Point], out: Path) -> None:
    with saved_figure(out, 9, 3.6) as figure:
        left, right = figure.subplots(1, 2)
        _draw_curves(left, by_classes, f"classes K, at {SIZE} x {SIZE} pixels")
        _draw_curves(right, by_size, "side of the image in pixels")
        left.set_ylabel("GMACs per image")
        left.legend()


def _draw_curves(axes: Any, points: list[Point], label: str) -> None:
    x = [value for value, _ in points]
    curves = {
        "paper's form": ([cost.naive.total() for _, cost in points], "#b03a2e", "-"),
        "of it, text encoder": ([cost.naive["text_encoder"] for _, cost in points], "#b03a2e", ":"),
        "ours": ([cost.image.total() for _, cost in points], "#1f618d", "-"),
        "of it, text encoder ": ([cost.image["text_encoder"] for _, cost in points], "#1f618d", ":"),
    }
    for name, (macs, color, style) in curves.items():
        axes.plot(x, [value / 1e9 for value in macs], style, color=color, label=name, marker=".", markersize=4)
    axes.set_xlabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
