"""A thing in a captioned scene: what it is, and where and how large its mask says that it is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Where the middle of a thing is, as a share of the width, to be "on the left", "in the middle", "on the right".
LEFT, MIDDLE, RIGHT = (0.0, 0.36), (0.42, 0.58), (0.64, 1.0)
# Shares of the image that a thing covers, from which on it is large and below which it is small.
LARGE, SMALL = 0.06, 0.006


@dataclass(frozen=True)
class Thing:
    """One thing in a scene, or all of a kind of landscape.

    Attributes:
        kind: one of :data:`icpc_d2.data.scenes.vocabulary.KINDS`.
        color: one of :data:`icpc_d2.data.scenes.vocabulary.COLORS`, if it has one that can be seen.
        mask: (H, W) bool, what of it is visible.
        ground: kind of the landscape that it stands on, floats on or flies in.
    """

    kind: str
    color: str | None
    mask: np.ndarray
    ground: str | None = None

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """First and last row and column of what is visible: top, left, bottom, right."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])

    @property
    def place(self) -> str:
        """Where in the image it is: "on the left", "in the middle", "on the right", or "" between these."""
        _, left, _, right = self.box
        middle = (left + right) / 2 / self.mask.shape[1]
        words = {"on the left": LEFT, "in the middle": MIDDLE, "on the right": RIGHT}
        return next((name for name, (low, high) in words.items() if low <= middle <= high), "")

    @property
    def size(self) -> str:
        """How large it looks: "large", "small", or "" between these."""
        share = self.mask.mean()
        return "large" if share >= LARGE else "small" if share < SMALL else ""
