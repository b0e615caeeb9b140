"""Texts of the web page about a prediction, as Markdown, HTML and plain text."""

import html

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from icpc_d2.tools.app.workbench import COLOR_MAP, Comparison, SegmentedUpload, class_colors

COMPARISON = "Left of the line the decoder, right of it the alignment A"


def describe_upload(segmented: SegmentedUpload, device: str) -> str:
    """Say what was done, how long each stage took and where, as Markdown."""
    height, width = segmented.prediction.labels.shape
    way = "the decoder" if segmented.prediction.predict_from == "decoder" else "the alignment A"
    if segmented.class_names is not None:
        way += ", which takes any class names; the decoder knows those of the training alone"
    times = " · ".join(f"{stage} {1000 * seconds:.0f} ms" for stage, seconds in segmented.seconds.items())
    sentences = [f"{width} x {height} pixels, by {way}.", *segmented.upload.notes]
    return f"{' '.join(sentences)}  \n{times} · on {device}"


def describe_comparison(comparison: Comparison) -> tuple[str, str]:
    """Say how far the two agree, as Markdown, and name the classes in either, as HTML."""
    text = f"{COMPARISON}: they agree on {comparison.agreement:.1%} of the pixels."
    return text, legend(class_colors(comparison.decoder, comparison.alignment))


def legend(colors: dict[str, str]) -> str:
    """Draw swatches and names, as HTML.

    Args:
        colors: "#rrggbb" by class name.
    """
    entries = (f'<span><i style="background:{color}"></i>{html.escape(name)}</span>' for name, color in colors.items())
    return f'<div class="legend">{"".join(entries)}</div>'


def color_scale() -> str:
    """Draw the colours of a region map, as HTML."""
    colors = ", ".join(map(to_hex, colormaps[COLOR_MAP](np.linspace(0, 1, 9))))
    bar = f'<i style="background:linear-gradient(90deg, {colors})"></i>'
    return f'<div class="scale">0{bar}1, softmax over the classes</div>'


def choices(shares: dict[str, float]) -> list[tuple[str, str]]:
    """Return (text, class) of every class, the text with its share of the image."""
    return [(f"{name} · {share:.1%}" if share else f"{name} · not found", name) for name, share in shares.items()]
