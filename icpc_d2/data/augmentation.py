"""The paper's augmentation: random scale, crop that no class fills, flip, photometric distortion, padding.

Other parts of the recipe are Detectron2's own. Images are (H, W, 3) uint8, labels (H, W) integers of any width.
"""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform

from icpc_d2.data.resizing import Rescale, ResizeShortestEdge, ResizeTransform

MAX_CROPS = 10


class RandomScale(T.Augmentation):
    """Resize by a random factor, keeping the aspect ratio.

    With r drawn from `scale_range`, the short side becomes r * `short_side` pixels unless the long side would exceed
    r * `max_long_side`. `method` is one of :data:`icpc_d2.data.resizing.METHODS`.
    """

    def __init__(
        self, scale_range: Sequence[float], short_side: int, max_long_side: int, method: str = "pillow"
    ) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw r and return the resize."""
        h, w = image.shape[:2]
        scale = self._rand_range(*self.scale_range) * min(self.short_side / min(h, w), self.max_long_side / max(h, w))
        return ResizeTransform(h, w, max(1, round(h * scale)), max(1, round(w * scale)), self.method)


class RandomCrop(T.RandomCrop):
    """Crop at random, drawn again (up to ten times) while one class covers too much of the labelled pixels.

    Detectron2's ``RandomCrop_CategoryAreaConstraint`` sorts all pixels to count them: a sixth of the mapper's time.

    Args:
        crop_size: (height, width).
        max_class_area: the largest share of a class, 0..1; 1: any crop will do.
        ignore_label: label of pixels that do not count.
    """

    def __init__(self, crop_size: Sequence[int], max_class_area: float, ignore_label: int) -> None:
        super().__init__("absolute", tuple(crop_size))
        self._init(locals())

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray | None = None) -> Transform:
        """Draw a crop; without a label map, any one will do."""
        for _ in range(1 if sem_seg is None or self.max_class_area >= 1 else MAX_CROPS):
            crop = super().get_transform(image)
            if sem_seg is None or self._is_mixed(crop.apply_segmentation(sem_seg)):
                break
        return crop

    def _is_mixed(self, label: np.ndarray) -> bool:
        counts = np.bincount(label.ravel(), minlength=self.ignore_label + 1)
        counts[self.ignore_label] = 0
        return np.count_nonzero(counts) > 1 and counts.max() < self.max_class_area * counts.sum()


class PadTransform(Transform):
    """Pad at the right and at the bottom, images with a colour and labels with an id.

    Args:
        size: (height, width) to reach; an input that is larger in one direction keeps that side.
        pixel: three values, 0..255.
        label: the ignore label.
    """

    def __init__(self, size: Sequence[int], pixel: Sequence[float], label: int) -> None:
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Pad an image: (h, w, 3) -> (H, W, 3)."""
        return self._pad(img, np.round(self.pixel))

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Pad a label map: (h, w) -> (H, W)."""
        return self._pad(segmentation, self.label)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Return the coordinates as they are: nothing is added at the left or at the top."""
        return coords

    def _pad(self, array: np.ndarray, value: np.ndarray | int) -> np.ndarray:
        h, w = array.shape[:2]
        padded = np.full((max(h, self.size[0]), max(w, self.size[1]), *array.shape[2:]), value, array.dtype)
        padded[:h, :w] = array
        return padded


def resizes_at_scales(
    scales: Sequence[float], short_side: int, max_long_side: int, method: str = "pillow"
) -> list[T.Augmentation]:
    """Return what resizes an image for each size of multi-scale testing.

    Args:
        scales: factors on both sides.
        short_side, max_long_side: of the image at scale 1, in pixels; a `short_side` of 0: the image as it is.
        method: one of :data:`icpc_d2.data.resizing.METHODS`.

    Raises:
        ValueError: there is no scale, or one is not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"TEST.AUG.SCALES is {list(scales)}; wanted is one positive factor or more.")
    if not short_side:
        return [Rescale(scale, method) for scale in scales]
    sides = [[max(1, round(scale * side)) for side in (short_side, max_long_side)] for scale in scales]
    return [ResizeShortestEdge(*sizes, method) for sizes in sides]
