"""A picture, its label and what a model answers, side by side."""

import numpy as np

from icpc_d2.visualization.palette import Palette
from icpc_d2.visualization.sheet import draw_sheet


def comparison(
    image: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    palette: Palette,
    alignment: np.ndarray | None = None,
) -> np.ndarray:
    """Draw image | label | prediction, and beside them what the alignment alone says, if that is given.

    Args:
        image: (H, W, 3) uint8, RGB.
        label, prediction, alignment: (H, W) integers.
        palette: names and colours of the classes.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    labels = {"label": label, "prediction": prediction}
    if alignment is not None:
        labels["alignment A"] = alignment
    return draw_sheet({"image": image, **labels}, palette, palette.present(*labels.values()))
