"""The data set ``scenes_captioned``: captioned scenes by day on disk, their labels, and their captions beside them."""

import json
from pathlib import Path

import numpy as np

from icpc_d2.data.scenes.captioned import CaptionedScene, draw_captioned_scene
from icpc_d2.data.scenes.dataset import make_once, write_pairs

# Has a version: change it with any change of what is drawn or said.
CAPTIONED_FOLDER = "captioned_scenes_v1"
CAPTIONED_SPLITS = {"train": 360, "val": 60}
# The seed of a scene is (that of its split, its index).
SPLIT_SEEDS = {"train": 2, "val": 3}


def make_captioned_scenes(root: str) -> None:
    """Write the captioned scenes below `root`, unless they are there; their captions into captions/SPLIT.json."""
    make_once(Path(root) / CAPTIONED_FOLDER, _write)


def _write(folder: Path) -> None:
    said: dict[str, dict[str, dict]] = {split: {} for split in CAPTIONED_SPLITS}

    def draw(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        scene = draw_captioned_scene((SPLIT_SEEDS[split], index))
        said[split][f"{index:04d}"] = _words(scene)
        return scene.image, scene.labels

    write_pairs(folder, CAPTIONED_SPLITS, draw)
    (folder / "captions").mkdir()
    for split, scenes in said.items():
        lines = [f"{json.dumps(stem)}: {json.dumps(words)}" for stem, words in sorted(scenes.items())]
        (folder / "captions" / f"{split}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _words(scene: CaptionedScene) -> dict:
    """Return the captions of a scene and its things as JSON has them; boxes are left, top, right, bottom in pixels."""
    things = []
    for thing in scene.things:
        top, left, bottom, right = thing.box
        things.append({"kind": thing.kind, "color": thing.color, "box": [left, top, right + 1, bottom + 1]})
    return {"captions": scene.captions, "things": things, "weather": scene.weather}
