"""The data set ``scenes``: outdoor images with exact labels, drawn here, so that anybody can train in minutes.

The image of a given split and index is always the same. Colours are no help by design (grey roads under grey sky, blue
mountains behind blue water); light, weather and season change from image to image. The scenes of the validation are
also drawn in other styles, to test what a model that was trained by day makes of them.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
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

# These have versions: change them with any change of what is drawn.
FOLDER = "scenes_v2"
STYLED_FOLDER = "styled_scenes_v1"
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
    height, width = image.shape[:2]
    warmth = rng.normal(0, 0.07)
    # Rows of values, as numpy is slow where its last axis has three.
    rows = image.reshape(height, 3 * width) * rng.uniform(0.65, 1.15)
    rows *= np.tile(np.float32([1 + warmth, 1, 1 - warmth]), width)
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in (height, width))
    rows *= np.repeat(1 - rng.uniform(0, 0.12) * (x[None, :] ** 2 + y[:, None] ** 2), 3, axis=1)
    image = rows.reshape(image.shape)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain *= np.float32(rng.uniform(0.01, 0.04))
    grain += image
    return np.rint(grain.clip(0, 1) * 255).astype(np.uint8)


def ignore_remainders(label: np.ndarray) -> np.ndarray:
    """Set connected regions of a label map below SMALLEST_REGION pixels to the ignore label."""
    cleaned = label.copy()
    for class_id in np.flatnonzero(np.bincount(label.ravel())):
        count, regions = cv2.connectedComponents((label == class_id).astype(np.uint8), connectivity=8)
        small = np.bincount(regions.ravel(), minlength=count) < SMALLEST_REGION
        small[0] = False  # the rest of the image
        if small.any():
            cleaned[small[regions]] = IGNORE_LABEL
    return cleaned


def make_scenes(root: str, style: str = "day") -> None:
    """Write all scenes below `root`, or in another style those of the validation, unless they are there."""

    def draw(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        return draw_scene((list(SPLITS).index(split), index), style)

    if style == "day":
        make_once(Path(root) / FOLDER, lambda folder: write_pairs(folder, SPLITS, draw))
    else:
        splits = {"val": SPLITS["val"]}
        make_once(Path(root) / styled_folder(style), lambda folder: write_pairs(folder, splits, draw))


def styled_folder(style: str) -> str:
    """Return the folder of the scenes in a style but day, below that of all data sets."""
    return f"{STYLED_FOLDER}/{style.replace(' ', '_')}"


def make_once(target: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a folder, unless it is there.

    It fills a temporary folder that is renamed when complete: a killed run leaves no half-made data set, and of several
    processes that start at once the first to finish wins.
    """
    if target.is_dir():
        return
    logger.info("Drawing scenes into %s (once).", target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}-*"):  # of runs that were killed while they drew
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - leftover.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(temporary)
        temporary.chmod(0o755)  # mkdtemp's folders are private
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_pairs(
    folder: Path, splits: Mapping[str, int], draw: Callable[[str, int], tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write images and label maps of splits of so many pairs, which `draw` returns for a split and an index."""

    def write(split: str, index: int) -> None:
        image, label = draw(split, index)
        Image.fromarray(image).save(folder / "images" / split / f"{index:04d}.jpg", quality=95)
        Image.fromarray(label).save(folder / "annotations" / split / f"{index:04d}.png")

    for kind, split in product(("images", "annotations"), splits):
        (folder / kind / split).mkdir(parents=True)
    pairs = [(split, index) for split, count in splits.items() for index in range(count)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(write, *zip(*pairs, strict=True)))
