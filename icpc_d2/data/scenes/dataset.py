"""The data set ``scenes``: outdoor images with exact labels, drawn here, so that anybody can train in minutes.

The image of a given split and index is always the same. Colours are no help by design (grey roads under grey sky, blue
mountains behind blue water); light, weather and season change from image to image.
"""

import logging
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from icpc_d2.data.scenes.landscape import draw_landscape, place_things
from icpc_d2.data.scenes.styles import restyle

logger = logging.getLogger(__name__)

# Has a version: change it with any change of what is drawn.
FOLDER = "scenes_v2"
SPLITS = {"train": 360, "val": 60}
HEIGHT, WIDTH = 160, 208
IGNORE_LABEL = 255
# Drawn larger and scaled down, which smooths the edges of the image as a camera does.
OVERSAMPLING = 2
# A region of fewer pixels cannot be recognized, and is not labelled.
SMALLEST_REGION = 16
# Seconds. Drawing takes far less, so that a folder this old is not one that another process is drawing into.
ABANDONED_AFTER = 3600


def draw_scene(seed: int | tuple[int, ...], style: str = "day") -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene; of a seed, the labels are the same in every style of :data:`icpc_d2.data.scenes.styles.STYLES`.

    Returns:
        The image, (160, 208, 3) uint8 RGB, and its labels, (160, 208) uint8: ids of ``classes/scenes_10.txt``, or
        255 where hardly anything of a hidden thing is left.
    """
    rng = np.random.default_rng(seed)
    canvas, horizon, road_leads_away = draw_landscape(rng, (HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING))
    place_things(rng, canvas, horizon, road_leads_away)
    image = cv2.resize(canvas.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    label = np.ascontiguousarray(canvas.label[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING])
    image = restyle(rng, image, label, label, style)
    return photograph(rng, image), ignore_remainders(label)


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Apply exposure, colour of the light, vignette, focus and sensor noise: (H, W, 3) float -> uint8."""
    warmth = rng.normal(0, 0.07)
    image = image * rng.uniform(0.65, 1.15) * np.float32([1 + warmth, 1, 1 - warmth])
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in image.shape[:2])
    image = image * (1 - rng.uniform(0, 0.12) * (x[None, :] ** 2 + y[:, None] ** 2))[:, :, None]
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    noisy = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.01, 0.04))
    return (noisy.clip(0, 1) * 255).round().astype(np.uint8)


def ignore_remainders(label: np.ndarray) -> np.ndarray:
    """Set connected regions of a label map below SMALLEST_REGION pixels to the ignore label."""
    cleaned = label.copy()
    for class_id in np.unique(label):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((label == class_id).astype(np.uint8), connectivity=8)
        small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < SMALLEST_REGION)
        cleaned[np.isin(regions, small[small > 0])] = IGNORE_LABEL
    return cleaned


def make_scenes(root: str) -> None:
    """Write all scenes below `root`, unless they are there.

    They are drawn in a temporary folder that is renamed when complete: a killed run leaves no half-made data set, and
    of several processes that start at once the first to finish wins.
    """
    target = Path(root) / FOLDER
    if target.is_dir():
        return
    logger.info("Drawing %d scenes into %s (once, some seconds).", sum(SPLITS.values()), target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{FOLDER}-*"):  # of runs that were killed while they drew
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - leftover.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=target.parent))
    try:
        _write_scenes(temporary)
        temporary.chmod(0o755)  # mkdtemp's folders are private
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_scenes(folder: Path) -> None:
    def write(split: str, *seed: int) -> None:
        image, label = draw_scene(seed)
        Image.fromarray(image).save(folder / "images" / split / f"{seed[1]:04d}.jpg", quality=95)
        Image.fromarray(label).save(folder / "annotations" / split / f"{seed[1]:04d}.png")

    for kind, split in product(("images", "annotations"), SPLITS):
        (folder / kind / split).mkdir(parents=True)
    scenes = [(split, k, index) for k, (split, count) in enumerate(SPLITS.items()) for index in range(count)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(write, *zip(*scenes, strict=True)))
