"""A picture, its label and a prediction side by side, above a legend of the classes in them."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from icpc_d2.visualization.palette import IGNORE_NAME, Palette, hatch

# Sizes in pixels. Small pictures are enlarged and large ones reduced, so that the text keeps its proportion.
LONG_SIDE = (400, 640)
# Room for the title of a panel, and for the legend, where the picture is narrow.
MIN_COLUMN = 160
MARGIN = 20
GAP = 12
TITLE_HEIGHT = 30
FONT_SIZE = 16
SWATCH = (26, 16)
ROW_HEIGHT = 26
COLUMN_GAP = 24
BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)
FRAME = (128, 128, 128)


def comparison(image: np.ndarray, label: np.ndarray, prediction: np.ndarray, palette: Palette) -> np.ndarray:
    """Draw image | label | prediction.

    Args:
        image: (H, W, 3) uint8, RGB.
        label: (H, W) integers.
        prediction: (H, W) integers.
        palette: names and colours of the classes.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    size = _panel_size(*image.shape[:2])
    panels = {
        "image": Image.fromarray(image).resize(size, Image.Resampling.LANCZOS),
        "label": _paint(label, palette, size),
        "prediction": _paint(prediction, palette, size),
    }
    column_width = max(size[0], MIN_COLUMN) + GAP
    width = 2 * MARGIN + len(panels) * column_width - GAP
    legend = _legend(palette, palette.present(label, prediction), width - 2 * MARGIN)
    height = MARGIN + TITLE_HEIGHT + size[1] + GAP + legend.height + MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, (title, panel) in enumerate(panels.items()):
        left, top = MARGIN + column * column_width, MARGIN + TITLE_HEIGHT
        draw.text((left, MARGIN), title, INK, _font("DejaVuSans-Bold.ttf"))
        sheet.paste(panel, (left, top))
        draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=FRAME)
    sheet.paste(legend, (MARGIN, MARGIN + TITLE_HEIGHT + size[1] + GAP))
    return np.asarray(sheet)


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) of a panel for a picture of this size."""
    long_side = max(height, width)
    scale = min(max(long_side, LONG_SIDE[0]), LONG_SIDE[1]) / long_side
    return max(1, round(width * scale)), max(1, round(height * scale))


def _paint(labels: np.ndarray, palette: Palette, size: tuple[int, int]) -> Image.Image:
    # Resized as labels and not as colours: mixed colours would belong to no class, and the hatch would coarsen.
    resized = Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(palette.paint(np.asarray(resized)))


def _legend(palette: Palette, classes: list[int], width: int) -> Image.Image:
    """Swatches and names in columns of equal width, filled row by row."""
    font = _font("DejaVuSans.ttf")
    text_left = SWATCH[0] + 8
    names = [_fit(palette.names[index] if index >= 0 else IGNORE_NAME, width - text_left, font) for index in classes]
    column = text_left + round(max(font.getlength(name) for name in names)) + COLUMN_GAP
    columns = max(1, (width + COLUMN_GAP) // column)
    legend = Image.new("RGB", (width, -(-len(names) // columns) * ROW_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(legend)
    for position, (index, name) in enumerate(zip(classes, names, strict=True)):
        left, top = position % columns * column, position // columns * ROW_HEIGHT
        swatch_top = top + (ROW_HEIGHT - SWATCH[1]) // 2
        color = hatch(*reversed(SWATCH)) if index < 0 else np.full((*reversed(SWATCH), 3), palette.colors[index])
        legend.paste(Image.fromarray(color), (left, swatch_top))
        draw.rectangle((left, swatch_top, left + SWATCH[0] - 1, swatch_top + SWATCH[1] - 1), outline=FRAME)
        draw.text((left + text_left, top + ROW_HEIGHT // 2), name, INK, font, anchor="lm")
    return legend


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, shortened with an ellipsis if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    # matplotlib ships these fonts, so that pictures look the same on every machine.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, FONT_SIZE)
