"""Images and label maps side by side, above a legend of the classes in them."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from icpc_d2.visualization.legend import BACKGROUND, FRAME, INK, draw_legend, get_font
from icpc_d2.visualization.palette import Palette

# Sizes in pixels, at scale 1. Small images are enlarged and large ones reduced: the text keeps its proportion.
LONG_SIDE = (400, 640)
# Room for the title of a panel, and for the legend, where the image is narrow.
MIN_COLUMN = 160
MARGIN = 20
GAP = 12
TITLE_HEIGHT = 30


def comparison(
    image: np.ndarray, label: np.ndarray, prediction: np.ndarray, palette: Palette, alignment: np.ndarray | None = None
) -> np.ndarray:
    """Draw image | label | prediction, and beside them what the alignment alone predicts, if that is given.

    Args:
        image: (H, W, 3) uint8, RGB; what is returned, (H', W', 3), is so too.
        label, prediction, alignment: (H, W) integers.
        palette: names and colours of the classes.
    """
    labels = {"label": label, "prediction": prediction}
    if alignment is not None:
        labels["alignment A"] = alignment
    return draw_sheet({"image": image, **labels}, palette, palette.present(*labels.values()))


def draw_sheet(
    panels: Mapping[str, np.ndarray],
    palette: Palette,
    classes: list[int],
    long_side: tuple[int, int] = LONG_SIDE,
    scale: float = 1.0,
) -> np.ndarray:
    """Draw panels of one size from left to right, each with its title, and a legend below; (H', W', 3) uint8, RGB.

    Args:
        panels: title -> (H, W, 3) uint8 RGB image, or (H, W) integer label map, which the palette paints. Without
            any title there is no room for one.
        palette: names and colours of the classes.
        classes: those of the legend, see :func:`icpc_d2.visualization.legend.draw_legend`.
        long_side: pixels of a panel's long side, at least and at most.
        scale: factor on the size of text and margins.
    """
    margin, gap, title_height, column = (round(x * scale) for x in (MARGIN, GAP, TITLE_HEIGHT, MIN_COLUMN))
    height, width = next(iter(panels.values())).shape[:2]
    longest = max(height, width)
    factor = min(max(longest, long_side[0]), long_side[1]) / longest
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    column = max(size[0], column) + gap
    title_height = title_height if any(panels) else 0
    width = 2 * margin + len(panels) * column - gap
    legend = draw_legend(palette, classes, width - 2 * margin, scale)
    top = margin + title_height
    sheet = Image.new("RGB", (width, top + size[1] + gap + legend.height + margin), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (title, panel) in enumerate(panels.items()):
        left = margin + index * column
        draw.text((left, margin), title, INK, get_font("DejaVuSans-Bold.ttf", scale))
        sheet.paste(_render(panel, palette, size), (left, top))
        draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=FRAME)
    sheet.paste(legend, (margin, top + size[1] + gap))
    return np.asarray(sheet)


def _render(panel: np.ndarray, palette: Palette, size: tuple[int, int]) -> Image.Image:
    if panel.ndim == 3:
        return Image.fromarray(panel).resize(size, Image.Resampling.LANCZOS)
    # Resized as labels and not as colours: mixed colours would belong to no class, and the hatch would coarsen.
    resized = Image.fromarray(panel.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(palette.paint(np.asarray(resized)))
