"""Legends: swatches and names of classes in columns."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from icpc_d2.visualization.palette import IGNORE_NAME, Palette, hatch

# Sizes in pixels, at scale 1.
FONT_SIZE = 16
SWATCH = (26, 16)
ROW_HEIGHT = 26
COLUMN_GAP = 24
BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)
FRAME = (128, 128, 128)


def draw_legend(palette: Palette, classes: list[int], width: int, scale: float = 1.0) -> Image.Image:
    """Draw swatches and names in columns of equal width, filled row by row; names that are too long are shortened.

    Args:
        classes: which ones, in this order; -1 is what is ignored.
        width: in pixels.
        scale: factor on the size of everything.
    """
    font = get_font("DejaVuSans.ttf", scale)
    swatch, row_height = (round(SWATCH[0] * scale), round(SWATCH[1] * scale)), round(ROW_HEIGHT * scale)
    text_left, gap = swatch[0] + round(8 * scale), round(COLUMN_GAP * scale)
    names = [_fit(palette.names[index] if index >= 0 else IGNORE_NAME, width - text_left, font) for index in classes]
    column = text_left + round(max((font.getlength(name) for name in names), default=0)) + gap
    columns = max(1, (width + gap) // column)
    legend = Image.new("RGB", (width, -(-len(names) // columns) * row_height), BACKGROUND)
    draw = ImageDraw.Draw(legend)
    for position, (index, name) in enumerate(zip(classes, names, strict=True)):
        left, top = position % columns * column, position // columns * row_height
        swatch_top = top + (row_height - swatch[1]) // 2
        color = hatch(*reversed(swatch)) if index < 0 else np.full((*reversed(swatch), 3), palette.colors[index])
        legend.paste(Image.fromarray(color), (left, swatch_top))
        draw.rectangle((left, swatch_top, left + swatch[0] - 1, swatch_top + swatch[1] - 1), outline=FRAME)
        draw.text((left + text_left, top + row_height // 2), name, INK, font, anchor="lm")
    return legend


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Return the text, shortened with an ellipsis if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def get_font(name: str, scale: float = 1.0) -> ImageFont.FreeTypeFont:
    """Load a font that matplotlib ships, so that images look the same on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, round(FONT_SIZE * scale))
