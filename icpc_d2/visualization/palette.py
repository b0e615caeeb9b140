"""Names and colours of classes, and label maps painted with them."""

import colorsys
import re
from collections.abc import Sequence

import numpy as np
from detectron2.data import Metadata

IGNORE_NAME = "ignored"
_HATCH = (np.array([16, 16, 16], np.uint8), np.array([96, 96, 96], np.uint8))
_HATCH_PERIOD = 8
# Sum over the channels of what tells two colours apart, and how many there are to choose from for each new name.
MIN_DISTANCE = 90
SPARE_COLORS = 4


class Palette:
    """Names and colours of K classes, (K, 3) uint8 RGB, and the label value that is ignored."""

    def __init__(
        self, names: Sequence[str], colors: Sequence[Sequence[int]] | None = None, ignore_label: int = -1
    ) -> None:
        """Take names, and as many RGB triples in 0..255 or else :func:`distinct_colors`.

        Args:
            ignore_label: of label files. Predictions have none: where there are more classes, 255 is one of them.

        Raises:
            ValueError: names and colours differ in number.
        """
        self.names = list(names)
        self.colors = distinct_colors(len(self.names)) if colors is None else np.array(colors, np.uint8).reshape(-1, 3)
        self.ignore_label = ignore_label
        if len(self.colors) != len(self.names):
            raise ValueError(f"{len(self.names)} class names but {len(self.colors)} colours; each class needs one.")

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "Palette":
        """Take the classes of a data set, by the names that prompts say."""
        names = metadata.get("prompt_classes") or metadata.stuff_classes
        return cls(names, metadata.get("stuff_colors"), metadata.get("ignore_label", 255))

    def renamed(self, names: Sequence[str]) -> "Palette":
        """Return a palette of other classes, in which names that were there keep their colours."""
        known = dict(zip(self.names, self.colors, strict=True))
        taken = [known[name] for name in names if name in known]
        spare = iter(_unlike(distinct_colors(SPARE_COLORS * (len(names) + 1)), taken))
        colors = [known[name] if name in known else next(spare) for name in names]
        return Palette(names, colors, self.ignore_label)

    def paint(self, labels: np.ndarray) -> np.ndarray:
        """Paint integers (H, W) as (H, W, 3) uint8; whatever is not 0..K-1 counts as ignored, and is hatched."""
        known = self._known(labels)
        if known.all():
            return self.colors[labels]
        return np.where(known[..., None], self.colors[np.where(known, labels, 0)], hatch(*labels.shape))

    def present(self, *label_maps: np.ndarray) -> list[int]:
        """Return the classes in the label maps, the largest area first; -1 stands for ignored pixels and comes last."""
        known = [self._known(labels) for labels in label_maps]
        counts = sum(
            np.bincount(labels[mask].astype(np.int64), minlength=len(self.names))
            for labels, mask in zip(label_maps, known, strict=True)
        )
        order = np.argsort(-counts, kind="stable")
        classes = [int(index) for index in order if counts[index]]
        return classes if all(mask.all() for mask in known) else [*classes, -1]

    def _known(self, labels: np.ndarray) -> np.ndarray:
        return (labels >= 0) & (labels < len(self.names)) & (labels != self.ignore_label)


def _unlike(colors: np.ndarray, taken: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the colours, those first that are far from the ones that are taken."""
    if not taken:
        return list(colors)
    distances = np.abs(colors[:, None].astype(int) - np.array(taken, int)[None]).sum(axis=2).min(axis=1)
    return list(colors[np.argsort(distances < MIN_DISTANCE, kind="stable")])


def hatch(height: int, width: int) -> np.ndarray:
    """Draw grey diagonal lines on black, (H, W, 3) uint8: the look of what is ignored."""
    rows, columns = np.ogrid[:height, :width]
    line = (rows + columns) % _HATCH_PERIOD < 2
    return np.where(line[..., None], _HATCH[1], _HATCH[0])


def distinct_colors(count: int) -> np.ndarray:
    """Return `count` colours, (count, 3) uint8, neighbours far apart in hue, the same in every run."""
    golden_ratio = 0.618033988749895
    levels = ((0.65, 0.95), (0.9, 0.7), (0.45, 0.8), (0.8, 0.5))  # saturation, value
    colors = [colorsys.hsv_to_rgb(i * golden_ratio % 1.0, *levels[i % len(levels)]) for i in range(count)]
    return np.round(np.array(colors).reshape(-1, 3) * 255).astype(np.uint8)


def parse_colors(texts: Sequence[str], count: int) -> list[tuple[int, int, int]]:
    """Return the (r, g, b), 0..255, of ``MODEL.CLASS_COLORS``: "#rrggbb" of each of `count` classes, or none.

    Raises:
        ValueError: another number of them, or something else than colours.
    """
    if len(texts) not in (0, count) or not all(re.fullmatch("#[0-9a-fA-F]{6}", str(text)) for text in texts):
        raise ValueError(
            f"MODEL.CLASS_COLORS is {list(texts)}; wanted is a colour such as '#4682b4' for each of the {count} "
            "classes, or none"
        )
    return [tuple(bytes.fromhex(text[1:])) for text in texts]


def format_colors(colors: Sequence[Sequence[int]]) -> list[str]:
    """Return "#rrggbb" of each (r, g, b), which :func:`parse_colors` reads."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors]
