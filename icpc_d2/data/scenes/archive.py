"""Captioned scenes by their number: drawn when they are asked for, or read from a folder that they were drawn into."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import DataLoader, Dataset

from icpc_d2.data.scenes.captioned import STYLES, draw_captioned_scene
from icpc_d2.data.scenes.close_ups import SIDE, CloseUp, draw_close_ups
from icpc_d2.data.scenes.dataset import HEIGHT, WIDTH, make_once

logger = logging.getLogger(__name__)

# First number of a scene's seed. The second one is its index.
SEEDS = {"train": 171, "val": 172}
# The third one of a close-up's, behind them.
CLOSE_UP_SEED = 1
IMAGES, LABELS, FACTS = "images.npy", "labels.npy", "facts.json"
CLOSE_UPS, CLOSE_UP_FACTS = "close_ups.npy", "close_ups.json"


class SceneRecord(NamedTuple):
    """A captioned scene as training and evaluation take it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    label: np.ndarray  # (H, W) uint8, ids of classes/scenes_10.txt or 255
    captions: list[str]
    things: list[list[str | None]]  # kind and colour of each thing
    close_ups: Sequence[CloseUp] = ()  # as many of each scene


@dataclass(frozen=True)
class DrawnScenes(Dataset):
    """The first `count` scenes of a split, each in all of its paints, drawn whenever they are asked for."""

    split: str  # "train" or "val"
    count: int
    styles: tuple[str, ...]  # which the scenes have in turns
    paints: int = 1  # of each scene, see `draw_captioned_scene`
    close_ups: int = 0  # of each drawing

    def __post_init__(self) -> None:
        if unknown := [style for style in self.styles if style not in STYLES] or not self.styles:
            raise ValueError(f"PRETRAIN.STYLES has {unknown or 'nothing'}; a scene's style is one of {list(STYLES)}.")

    def __len__(self) -> int:
        return self.count * self.paints

    def __getitem__(self, index: int) -> SceneRecord:
        """Draw a scene, always the same for an index."""
        cv2.setNumThreads(1)  # the workers are as many as the cores
        number, paint = divmod(index, self.paints)
        scene = draw_captioned_scene((SEEDS[self.split], number), self.styles[number % len(self.styles)], paint)
        things = [[thing.kind, thing.color] for thing in scene.things]
        rng = np.random.default_rng((SEEDS[self.split], index, CLOSE_UP_SEED))
        close_ups = draw_close_ups(rng, scene, self.close_ups)
        return SceneRecord(scene.image, scene.labels, list(scene.captions), things, close_ups)


class SceneArchive(Dataset):
    """Scenes that were drawn into a folder; images and label maps are read as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._images, self._labels = (np.load(folder / name, mmap_mode="r") for name in (IMAGES, LABELS))
        self._facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self._close_ups, self._close_up_captions = None, []
        if (folder / CLOSE_UPS).exists():
            self._close_ups = np.load(folder / CLOSE_UPS, mmap_mode="r")
            self._close_up_captions = json.loads((folder / CLOSE_UP_FACTS).read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, index: int) -> SceneRecord:
        """Read a scene."""
        captions, things = self._facts[index]
        close_ups = []
        if self._close_ups is not None:
            pairs = zip(self._close_ups[index], self._close_up_captions[index], strict=True)
            close_ups = [CloseUp(image, said) for image, said in pairs]
        return SceneRecord(self._images[index], self._labels[index], captions, things, close_ups)


def archived(scenes: DrawnScenes, root: Path, num_workers: int) -> SceneArchive:
    """Return the scenes from the folder of theirs below `root`, drawn by `num_workers` processes if it is not there.

    Raises:
        ValueError: the folder holds other pictures than are drawn today.
    """
    styles = "-".join(style.replace(" ", "_") for style in scenes.styles)
    paints = f"-{scenes.paints}_paints" if scenes.paints > 1 else ""
    close_ups = f"-{scenes.close_ups}_close_ups" if scenes.close_ups else ""
    folder = root / f"{scenes.split}-{scenes.count}-{styles}{paints}{close_ups}"
    make_once(folder, lambda temporary: _draw_into(temporary, scenes, num_workers))
    archive = SceneArchive(folder)
    looked_at = range(min(len(scenes), len(scenes.styles) * scenes.paints))  # each style: one alone may have changed
    if len(archive) != len(scenes) or not all(_same(archive[index], scenes[index]) for index in looked_at):
        raise ValueError(f"{folder} holds other scenes than are drawn today: remove it, and they are drawn again.")
    return archive


def _same(one: SceneRecord, other: SceneRecord) -> bool:
    if one.captions != other.captions or one.things != other.things or len(one.close_ups) != len(other.close_ups):
        return False
    arrays = [(one.image, other.image), (one.label, other.label)]
    for close_up, again in zip(one.close_ups, other.close_ups, strict=True):
        if close_up.captions != again.captions:
            return False
        arrays.append((close_up.image, again.image))
    return all(np.array_equal(a, b) for a, b in arrays)


def _draw_into(folder: Path, scenes: DrawnScenes, num_workers: int) -> None:
    """Draw all scenes into an empty folder."""
    shape = (len(scenes), HEIGHT, WIDTH)
    images = open_memmap(folder / IMAGES, "w+", np.uint8, (*shape, 3))
    labels = open_memmap(folder / LABELS, "w+", np.uint8, shape)
    close_ups = None
    if scenes.close_ups:
        close_ups = open_memmap(folder / CLOSE_UPS, "w+", np.uint8, (len(scenes), scenes.close_ups, SIDE, SIDE, 3))
    facts, close_up_facts = [], []
    # Seeds the workers; without one of its own, the loader would draw from the model's random numbers.
    loader = DataLoader(scenes, None, num_workers=num_workers, collate_fn=as_it_is, generator=torch.Generator())
    for index, scene in enumerate(loader):
        images[index], labels[index] = scene.image, scene.label
        facts.append([scene.captions, scene.things])
        if close_ups is not None:
            close_ups[index] = np.stack([close_up.image for close_up in scene.close_ups])
            close_up_facts.append([close_up.captions for close_up in scene.close_ups])
        if index % 2000 == 0:
            logger.info("Drawing scene %d of %d.", index, len(scenes))
            os.utime(folder)  # it is not abandoned, however long this takes
    images.flush()
    labels.flush()
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    if close_ups is not None:
        close_ups.flush()
        (folder / CLOSE_UP_FACTS).write_text(json.dumps(close_up_facts), encoding="utf-8")


def as_it_is(scene: SceneRecord) -> SceneRecord:
    """Return a scene: the loader makes tensors of nothing."""
    return scene
