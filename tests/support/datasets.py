"""Small images and label maps, on disk where data sets have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from icpc_d2.data import datasets

SCENE_CLASSES = ["sky", "tree", "traffic light", "person"]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def random_image(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def label_map(num_ids: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Squares of 16 pixels, each of some id below `num_ids`."""
    ids = np.random.default_rng(0).integers(0, num_ids, (height // 16, width // 16), np.uint8)
    return ids.repeat(16, 0).repeat(16, 1)


def save_photos(folder: Path, names: Sequence[str], sizes: Sequence[tuple[int, int]], broken: str) -> Path:
    """Write a picture of blocks for each name, of these widths and heights in turns, and cut off the broken one."""
    for index, name in enumerate(names):
        blocks = np.random.default_rng(index).integers(0, 256, (3, 4, 3), np.uint8)
        Image.fromarray(blocks).resize(sizes[index % len(sizes)]).save(folder / f"{name}.png")
    (folder / f"{broken}.png").write_bytes((folder / f"{broken}.png").read_bytes()[:60])
    return folder


def save_folder_dataset(folder: Path, num_classes: int = 3) -> None:
    """Write one training and one validation picture."""
    for split in ("train", "val"):
        save(folder / f"images/{split}/one.jpg", random_image())
        save(folder / f"labels/{split}/one.png", label_map(num_classes))


def save_prepared(root: Path, wanted: set[str]) -> None:
    """Write two images of each registered split, as its preparation leaves them."""
    for row in datasets.DATASETS:
        for split in row.splits:
            if row.name.format(split) in wanted:
                images, labels = map(Path, row.folders(str(root), split))
                for index in range(2):
                    save(images / f"{index}.{row.image_ext}", random_image())
                    save(labels / f"{index}.{row.label_ext}", label_map(3))
