"""Resizing of what a model sees, by one rule (``INPUT.RESIZE``) wherever its input is made.

"pillow" is Detectron2's way: bilinear over all pixels that a pixel is made of, labels by the nearest pixel centre.
"opencv" is mmsegmentation's and so DenseCLIP's: bilinear between four pixels however far an image is shrunk, labels by
the pixel at the upper left. An image shrunk to its half differs by one or two grey levels on average, by 50 at most.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform
from PIL import Image

METHODS = ("opencv", "pillow")


class ResizeTransform(T.ResizeTransform):
    """Detectron2's resize by either method, and for labels of every integer type.

    Detectron2 takes Pillow for uint8 alone; wider labels go through torch's "nearest", which has no kernels for
    integers and whose grid is shifted against that of the image.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, method: str = "pillow") -> None:
        """
        Args:
            h, w: of what is resized, in pixels.
            new_h, new_w: wanted, 1 or more.
            method: one of METHODS.

        Raises:
            ValueError: for another method.
        """
        super().__init__(h, w, new_h, new_w)
        if method not in METHODS:
            raise ValueError(f"INPUT.RESIZE is {method!r}; it can be 'opencv' or 'pillow'.")
        self.method = method

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Resize an image bilinearly: (h, w, 3) uint8 -> (new_h, new_w, 3)."""
        if self.method == "pillow":
            return super().apply_image(img)
        # OpenCV takes no array that is read backwards, as RGB turned into BGR is.
        return cv2.resize(np.ascontiguousarray(img), (self.new_w, self.new_h), interpolation=cv2.INTER_LINEAR)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Resize a label map by nearest neighbour: (h, w) -> (new_h, new_w), of the same type."""
        known = segmentation if segmentation.dtype == np.uint8 else segmentation.astype(np.int32)  # to both
        size = (self.new_w, self.new_h)
        if self.method == "opencv":
            resized = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
        else:
            resized = np.asarray(Image.fromarray(known).resize(size, Image.NEAREST))
        return resized.astype(segmentation.dtype, copy=False)


class ResizeShortestEdge(T.Augmentation):
    """Resize to a short side as Detectron2's augmentation of this name, by either method.

    Args:
        short_side: pixels; 0: the image as it is.
        max_long_side: pixels that the long side may have afterwards.
        method: one of METHODS.
    """

    def __init__(self, short_side: int, max_long_side: int, method: str) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the resize of an image (H, W, 3)."""
        if not self.short_side:
            return NoOpTransform()
        height, width = image.shape[:2]
        size = T.ResizeShortestEdge.get_output_shape(height, width, self.short_side, self.max_long_side)
        # A very thin image would be left without a pixel.
        return ResizeTransform(height, width, *(max(1, side) for side in size), self.method)


class Rescale(T.Augmentation):
    """Resize both sides by a factor, by either method of METHODS."""

    def __init__(self, factor: float, method: str) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the resize of an image (H, W, 3)."""
        height, width = image.shape[:2]
        size = (max(1, round(self.factor * side)) for side in (height, width))
        return ResizeTransform(height, width, *size, self.method)
