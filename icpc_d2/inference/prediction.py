"""A model's prediction for one image, and the files that show it."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from icpc_d2.files import atomically
from icpc_d2.modeling.predictions import LazyScores
from icpc_d2.visualization import Palette, blend, draw_sheet, overlay
from icpc_d2.visualization.connected_regions import connected_regions
from icpc_d2.visualization.legend import draw_legend

# kind -> ending of its file.
KINDS = {"overlay": ".png", "color": ".png", "label": ".png", "json": ".json", "side-by-side": ".png"}
ALPHA = 0.5
LEGEND_WIDTH = 640


@dataclass(eq=False, repr=False)
class Prediction:
    """Labels, probabilities and alignment of an image of H x W pixels, by class name.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W) int64, indices into `classes`.
        palette: of the K classes.
        predict_from: "decoder" or "alignment", the source of labels and probabilities.
        scores: of the classes, on the CPU.
        alignment: likewise of A / temperature; None if the model has none.
        seconds: of each stage, by its name.
    """

    image: np.ndarray
    labels: np.ndarray
    palette: Palette
    predict_from: str
    scores: LazyScores
    alignment: LazyScores | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """The K names."""
        return self.palette.names

    def probability(self, name: str) -> np.ndarray:
        """Return one class's softmax over the classes at each pixel, (H, W) float32 in [0, 1].

        Raises:
            ValueError: there is no such class.
        """
        return self._probability(self.scores, name)

    def regions(self, name: str) -> np.ndarray:
        """Return how far each pixel's alignment A speaks for a class and not for another, (H, W) float32 in [0, 1].

        It is the softmax of A / temperature over the classes, as L_align trains it; a prediction from the alignment
        takes the largest. For a single class it is 1 everywhere.

        Raises:
            ValueError: there is no such class, or the model compares no text with images.
        """
        if self.alignment is None:
            raise ValueError("this model compares no text with images, so it has no alignment; ICPC and DenseCLIP do.")
        return self._probability(self.alignment, name)

    def overlay(self, alpha: float = ALPHA, legend: bool = True) -> np.ndarray:
        """Tint the image with the colours of its classes.

        Args:
            alpha: 0 is the image alone, 1 the colours alone.
            legend: on a sheet with the names below, small images enlarged; else of the image's own size.

        Returns:
            (H', W', 3) uint8, RGB.
        """
        draw = overlay if legend else blend
        return draw(self.image, self.labels, self.palette, alpha)

    def color(self) -> np.ndarray:
        """Paint the label map in the colours of the classes, (H, W, 3) uint8, RGB."""
        return self.palette.paint(self.labels)

    def side_by_side(self) -> np.ndarray:
        """Draw image and label map side by side with a legend, (H', W', 3) uint8, RGB."""
        panels = {"image": self.image, f"prediction ({self.predict_from})": self.labels}
        return draw_sheet(panels, self.palette, self.palette.present(self.labels))

    def summary(self) -> dict[str, Any]:
        """List the classes by falling area, each with its share and the boxes of its connected regions.

        Lengths are in pixels, boxes [left, top, width, height]; see :func:`connected_regions`.
        """
        height, width = self.labels.shape
        found = connected_regions(self.labels, self.palette.present(self.labels))
        return {
            "width": width,
            "height": height,
            "predict_from": self.predict_from,
            "classes": [{"class": self.classes[entry["id"]], **entry} for entry in found],
        }

    def save(self, path: str | Path, kind: str = "overlay", alpha: float = ALPHA) -> None:
        """Write a file, whole or not at all; its folder is made.

        Args:
            alpha: of the overlay.
            kind: "overlay", "color" (:meth:`color`), "label" (a PNG of class ids: 8-bit, or 16-bit with more than 256
                classes), "json" (:meth:`summary`) or "side-by-side".

        Raises:
            ValueError: an unknown kind, or an ending that no image has.
        """
        path = Path(path)
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; wanted is one of {', '.join(KINDS)}.")
        if kind == "label" and path.suffix.lower() != ".png":
            raise ValueError(f"{path}: label maps are written as .png alone, which keeps each id as it is.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomically(path) as temporary:
            if kind == "json":
                temporary.write_text(json.dumps(self.summary(), indent=1) + "\n", encoding="utf-8")
                return
            if kind == "label":
                drawn = self.labels.astype(np.uint8 if len(self.classes) <= 256 else np.uint16)
            elif kind == "overlay":
                drawn = self.overlay(alpha)
            else:
                drawn = self.color() if kind == "color" else self.side_by_side()
            # Drawings take far longer to compress than to draw, for little; label maps become half as large by it.
            options = {"compress_level": 1} if path.suffix.lower() == ".png" and kind != "label" else {}
            Image.fromarray(drawn).save(temporary, **options)

    def save_legend(self, path: Path, classes: list[int]) -> None:
        """Draw the names and colours of some classes, by their indices, into a file."""
        with atomically(path) as temporary:
            draw_legend(self.palette, classes, LEGEND_WIDTH).save(temporary)

    def _probability(self, scores: LazyScores, name: str) -> np.ndarray:
        if name not in self.classes:
            close = difflib.get_close_matches(name, self.classes, n=3) or self.classes[:10]
            raise ValueError(f"there is no class {name!r} among the {len(self.classes)} asked for, such as {close}.")
        index = self.classes.index(name)
        return scores.probabilities(slice(index, index + 1))[0].numpy()
