"""The growth of an image's cost with the number of classes and with its size, counted and plotted."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

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
    """Draw GMACs of an image against K and against its side, ours beside the paper's form; return the counts.

    Args:
        options: KEY VALUE pairs.
        out: see :func:`icpc_d2.visualization.figure.saved_figure`.
        num_classes: values of K, each at images of 1024 x 1024.
        sizes: sides of square images in pixels, each with the config's own classes.
    """
    cfg = load_resolved_config(config_file, options)
    by_size = [(size, count_cost(cfg, size, size)) for size in sizes]
    configs = ((number, load_resolved_config(config_file, options, number)) for number in num_classes)
    by_classes = [(number, count_cost(cfg, SIZE, SIZE)) for number, cfg in configs]
    with saved_figure(out, 9, 3.6) as figure:
        left, right = figure.subplots(1, 2)
        _draw_curves(left, by_classes, f"classes K, at {SIZE} x {SIZE} pixels")
        _draw_curves(right, by_size, "side of the image in pixels")
        left.set_ylabel("GMACs per image")
        left.legend()
    return by_classes, by_size


def _draw_curves(axes: Axes, points: list[Point], label: str) -> None:
    for name, form, color in (("paper's form", "naive", "#b03a2e"), ("ours", "image", "#1f618d")):
        macs = [getattr(cost, form) for _, cost in points]
        totals, text = [one.total() / 1e9 for one in macs], [one["text_encoder"] / 1e9 for one in macs]
        style = {"color": color, "marker": ".", "markersize": 4}
        x = [value for value, _ in points]
        axes.plot(x, totals, "-", label=name, **style)
        axes.plot(x, text, ":", label="of it, text encoder", **style)
    axes.set_xlabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
