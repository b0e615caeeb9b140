"""A data set on disk of very different numbers of labelled pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.datasets import SCENE_CLASSES


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `icpc_d2.data.folders` describes it: 8 images to train, 3 to validate."""
    root = tmp_path_factory.mktemp("scenes")
    (root / "classes.txt").write_text("\n".join(SCENE_CLASSES) + "\n")
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            label = random.integers(0, len(SCENE_CLASSES), (4, 5), np.uint8).repeat(20, 0).repeat(20, 1)
            image = np.stack([50 * label, 200 - 50 * label, random.integers(0, 255, label.shape, np.uint8)], -1)
            label[: 10 * index] = 255
            Image.fromarray(image).save(root / "images" / split / f"{index}.png")
            Image.fromarray(label).save(root / "labels" / split / f"{index}.png")
    return root
