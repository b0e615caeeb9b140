"""Images to predict from."""

import numpy as np
from PIL import Image


def make_image(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height)))
