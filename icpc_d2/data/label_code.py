"""The meaning of the values and colours in label files: the class ids of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

Color = tuple[int, int, int]
# Values that are ignored unless a class list gives them a meaning, in files of 8 and of 16 bits.
IGNORED_VALUES = (255, 65535)
NAMED = 5  # of the values or colours that are wrong
UNKNOWN = -1


@dataclass(frozen=True)
class LabelCode:
    """How label files name the classes 0..K-1; without anything else, by these numbers."""

    num_classes: int = 0  # K; 0: unknown
    ignore_label: int = 255  # what ignored pixels become
    values: Mapping[int, int] = field(default_factory=dict)  # of grey files -> class id or `ignore_label`
    colors: Mapping[Color, int] = field(default_factory=dict)  # of files in colour -> class id or `ignore_label`
    shared_colors: Mapping[Color, Sequence[int]] = field(default_factory=dict)  # of several classes -> their ids
    order: Sequence[int] | None = None  # (K,), what each class is called in the end; None: as it is

    def ordered(self, order: Sequence[int] | None) -> "LabelCode":
        """Return a code that gives `order`[k] in the place of class k."""
        return replace(self, order=order)

    def of_values(self, values: np.ndarray, is_bit: bool = False) -> np.ndarray:
        """Return the class ids (H, W) of grey values; where `is_bit`, 0 and 1 may also mean black and white.

        Ids that no class has are left to whoever knows the classes, unless a class list says what values there are.

        Raises:
            ValueError: a value that the class list does not have, or that can be read in two ways.
        """
        table = self.values
        if not table and self._are_colors_grey():
            table = {color[0]: index for color, index in self.colors.items()}
        found = np.unique(values)
        if not table and self.colors:
            table = self._table_of_grey_colors(found * 255 if is_bit else found)
        if not table:
            return self._in_order(values)
        if is_bit and 1 not in table:
            values, found = values.astype(np.uint8) * 255, found.astype(np.uint8) * 255
        table = {value: self.ignore_label for value in IGNORED_VALUES} | dict(table)
        if unknown := [int(value) for value in found if int(value) not in table]:
            known = ", ".join(map(str, sorted(table)[:20]))
            raise ValueError(
                f"found the values {unknown[:NAMED]}{' and more' * (len(unknown) > NAMED)}, wanted those that "
                f"the class list has: {known}. A line 'ignore | | | {unknown[0]}' there lets one be ignored; ids "
                "in its last column say which value is which class."
            )
        return self._in_order(np.array([table[int(value)] for value in found])[np.searchsorted(found, values)])

    def of_palette(self, indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
        """Return the class ids (H, W) of a file with a palette (N, 3): by its colours, where the classes have some.

        Raises:
            ValueError: colours that the class list does not have, or that contradict its ids.
        """
        used = np.unique(indices).tolist()
        colors = [tuple(palette[i].tolist()) if i < len(palette) else (i,) * 3 for i in used]
        is_grey = all(color == (i, i, i) for i, color in zip(used, colors, strict=True))
        if is_grey or not (self.colors or self.shared_colors):
            return self.of_values(indices)
        ids = [self._of_entry(i, color) for i, color in zip(used, colors, strict=True)]
        unknown = [color for index, color in zip(ids, colors, strict=True) if index == UNKNOWN]
        if unknown and self.values:
            return self.of_values(indices)  # colours of some other drawing; the ids decide
        if unknown:
            raise ValueError(
                f"found a palette of the colours (r g b) {_text(unknown)}, {self._wanted(unknown)} Without colours in "
                "the class list, the values below the palette are the class ids."
            )
        for value, color, index in zip(used, colors, ids, strict=True):
            if self.values.get(value, index) != index:
                raise ValueError(
                    f"found the value {value} in the colour (r g b) {_text([color])}: by the ids of the class list it "
                    f"is class {self.values[value]}, by the colours class {index}. Correct one of the two columns."
                )
        return self._in_order(np.array(ids)[np.searchsorted(used, indices)])

    def _of_entry(self, value: int, color: Color) -> int:
        """Return the class id of an entry of a palette, or `UNKNOWN`."""
        if color in self.colors:
            return self.colors[color]
        index = self.values.get(value, value)
        if index in self.shared_colors.get(color, ()):
            return index
        # As in VOC, whatever its colour.
        return self.ignore_label if self._is_ignored(value) and value not in self.values else UNKNOWN

    def _is_ignored(self, value: int) -> bool:
        """Tell whether a value is ignored by itself, since it is no class either."""
        return value in IGNORED_VALUES and value >= self.num_classes

    def of_colors(self, pixels: np.ndarray) -> np.ndarray:
        """Return the class ids (H, W) of colours (H, W, 3) uint8.

        Raises:
            ValueError: colours that the class list does not have, or has twice.
        """
        if not (self.colors or self.shared_colors):
            raise ValueError(
                f"found a label map of shape {pixels.shape} in colour, wanted (H, W) class ids. Convert colours to "
                "ids, or use a folder data set whose classes.txt gives the colour of each class."
            )
        table = self.colors or {(-1, -1, -1): UNKNOWN}
        keys, ids = np.array(sorted((r << 16 | g << 8 | b, index) for (r, g, b), index in table.items())).T
        codes = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
        place = np.searchsorted(keys, codes).clip(max=len(keys) - 1)
        if len(wrong := np.unique(codes[keys[place] != codes])):
            found = [(key >> 16, key >> 8 & 255, key & 255) for key in wrong.tolist()]
            raise ValueError(f"found the colours (r g b) {_text(found)}, {self._wanted(found)}")
        return self._in_order(ids[place])

    def _are_colors_grey(self) -> bool:
        is_grey = all(r == g == b for r, g, b in self.colors)
        return bool(self.colors) and is_grey and not self.shared_colors

    def _table_of_grey_colors(self, levels: np.ndarray) -> dict[int, int]:
        """Return what grey levels mean if they can only be colours, of a file that a program has made smaller."""
        by_color = {int(v): self.colors.get((int(v),) * 3, UNKNOWN) for v in levels}
        if UNKNOWN in by_color.values():
            return {}
        as_ids = {v: self.ignore_label if self._is_ignored(v) else v for v in by_color}
        if all(v < self.num_classes or v == self.ignore_label for v in as_ids.values()):
            if as_ids == by_color:
                return {}
            raise ValueError(
                f"found a grey file of the values {[*by_color]}: as ids they are the classes {[*as_ids.values()]}, by "
                f"the colours of the class list {[*by_color.values()]} ({self.ignore_label}: ignored). Say in the "
                "class list what is meant: with an id for each class ('name | r g b | | id') grey files are read by "
                "their ids; save files in colour as RGB."
            )
        return by_color

    def _wanted(self, found: Sequence[Color]) -> str:
        for color in found:
            if color in self.shared_colors:
                ids = ", ".join(map(str, self.shared_colors[color]))
                return f"of which {_text([color])} is that of the classes {ids} alike: give each a colour of its own."
        return (
            f"wanted those of the {len(self.colors)} in the class list. A line 'ignore | r g b' there names the colour "
            "of ignored pixels."
        )

    def _in_order(self, ids: np.ndarray) -> np.ndarray:
        if self.order is None:
            return ids
        wide = ids.astype(np.int64)
        is_class = (wide >= 0) & (wide < len(self.order)) & (wide != self.ignore_label)
        return np.where(is_class, np.asarray(self.order)[np.where(is_class, wide, 0)], wide)


def advice_on_ids(wrong: np.ndarray, num_classes: int) -> str:
    """Say what to do about the one id behind the last class: that label maps count from 1; "" about others."""
    if num_classes == 0 or set(np.unique(wrong).tolist()) != {num_classes}:
        return ""
    return (
        f" If 0 is unlabelled and classes count from 1 to {num_classes}, say so in a folder's classes.txt: 'ignore | | "
        "| 0'."
    )


def _text(colors: Sequence[Color]) -> str:
    return ", ".join(f"({r} {g} {b})" for r, g, b in colors[:NAMED]) + " and more" * (len(colors) > NAMED)
