"""Generated scenes: the same each time, exact, whole on disk, and not to be had by colour alone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog

from icpc_d2.data import datasets, read_image, read_label
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.scenes import dataset as scenes
from icpc_d2.data.scenes import drawing
from icpc_d2.data.scenes.dataset import draw_scene, make_scenes

NAMES = read_class_list("scenes_10").prompt_names


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, np.ndarray]]:
    """The first scenes of both splits."""
    return [draw_scene((split, index)) for split, count in ((0, 40), (1, 20)) for index in range(count)]


def test_ids_follow_the_class_list() -> None:
    assert [kind.name.lower() for kind in drawing.SceneClass] == NAMES
    assert list(drawing.SceneClass) == list(range(len(NAMES)))


def test_the_same_seed_draws_the_same_scene() -> None:
    for first, second in zip(draw_scene((0, 3)), draw_scene((0, 3)), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (draw_scene((0, 3))[0] != draw_scene((1, 3))[0]).any()


@pytest.mark.parametrize(
    ("seed", "pixels", "color"),
    [
        ((0, 0), (10624, 2333, 3577, 5135, 4457, 0, 3834, 0, 1967, 1334), (19375.0, 14892.0, 12453.0)),
        ((0, 359), (12582, 0, 3071, 3917, 3814, 0, 5986, 1718, 1886, 289), (11626.0, 10731.0, 6651.0)),
        ((1, 59), (4662, 6778, 8550, 5627, 5059, 0, 0, 2157, 447, 0), (14699.0, 12477.0, 11604.0)),
    ],
)
def test_scenes_stay_what_they_are(
    seed: tuple[int, int], pixels: tuple[int, ...], color: tuple[float, float, float]
) -> None:
    """Whoever draws them, so that results stay comparable: other processors may round some few pixels otherwise."""
    image, label = draw_scene(seed)
    np.testing.assert_allclose(np.bincount(label.ravel(), minlength=len(NAMES))[: len(NAMES)], pixels, atol=5)
    weights = np.random.default_rng(0).standard_normal(image.shape[:2])
    np.testing.assert_allclose(np.einsum("hwc,hw->c", image.astype(float), weights), color, atol=60)


def test_what_a_scene_is(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for image, label in drawn:
        assert (image.shape, image.dtype) == ((scenes.HEIGHT, scenes.WIDTH, 3), np.uint8)
        assert (label.shape, label.dtype) == ((scenes.HEIGHT, scenes.WIDTH), np.uint8)
        assert len(np.unique(label)) >= 3
    labels = np.stack([label for _, label in drawn])
    shares = np.bincount(labels.ravel(), minlength=256) / labels.size
    assert shares[: len(NAMES)].min() > 0.01  # every class can be learned
    assert shares[scenes.IGNORE_LABEL] < 0.005
    assert shares[: len(NAMES)].sum() + shares[scenes.IGNORE_LABEL] == pytest.approx(1)


def test_no_slivers() -> None:
    label = np.zeros((20, 20), np.uint8)
    label[2:5, 2:7] = 1  # 15 pixels
    label[10:14, 10:14] = 2  # 16 pixels
    cleaned = scenes.ignore_remainders(label)
    assert (cleaned[2:5, 2:7] == scenes.IGNORE_LABEL).all()
    np.testing.assert_array_equal(cleaned[6:], label[6:])


@pytest.mark.parametrize("corner", [(-3, -2), (5, 4), (37, 27), (60, 0)])
def test_image_and_label_change_in_the_same_pixels(corner: tuple[int, int]) -> None:
    canvas = drawing.Canvas((30, 40), haze=(0.5, 0.5, 0.5))
    mask = drawing.ellipse((9, 13), (0.5, 0.5), (0.5, 0.5))
    canvas.paint((np.ones((9, 13, 3), np.float32), mask), 7, 0.5, *corner)
    np.testing.assert_array_equal(canvas.image == 0.75, np.repeat((canvas.label == 7)[:, :, None], 3, axis=2))
    assert (canvas.label == 7).sum() <= mask.sum()
    assert ((canvas.label == 7).any()) == (corner != (60, 0))


def iou(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each class, in percent."""
    count = len(NAMES)
    matrix = torch.bincount(target * count + prediction, minlength=count**2).view(count, count).double()
    return 100 * matrix.diag() / (matrix.sum(0) + matrix.sum(1) - matrix.diag())


def test_colour_alone_does_not_segment_scenes(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A linear classifier of single pixels' colours stays below 60 % mIoU; it reaches about 20 %."""
    colors = torch.from_numpy(np.stack([image for image, _ in drawn])).double().flatten(1, 2) / 127.5 - 1
    labels = torch.from_numpy(np.stack([label for _, label in drawn])).long().flatten(1)
    x, y = colors[:40].flatten(0, 1)[::37], labels[:40].flatten()[::37]
    x, y = x[y != scenes.IGNORE_LABEL], y[y != scenes.IGNORE_LABEL]
    model = torch.nn.Linear(3, len(NAMES)).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(model(x), y)
        value.backward()
        return value

    optimizer.step(loss)
    known = labels[40:] != scenes.IGNORE_LABEL
    miou = iou(model(colors[40:][known]).argmax(1), labels[40:][known]).mean()
    assert 12 < miou < 60  # 12: it has learned what there is to learn


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": 3, "val": 2})


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.usefixtures("few")
def test_scenes_are_made_on_first_use(tmp_path: Path) -> None:
    (row,) = (row for row in datasets.DATASETS if row.name == "scenes_sem_seg_{}")
    pairs = datasets.load_dataset(row, str(tmp_path), "val")
    assert len(pairs) == 2
    image, label = draw_scene((1, 0))
    np.testing.assert_array_equal(read_label(pairs[0]["sem_seg_file_name"]), label)
    assert np.abs(read_image(pairs[0]["file_name"]).astype(int) - image).mean() < 6  # JPEG
    times = [path.stat().st_mtime_ns for path in tmp_path.rglob("*")]
    make_scenes(str(tmp_path))
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*")] == times


@pytest.mark.usefixtures("few")
def test_many_at_once_make_one_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_scenes, [str(tmp_path)] * 4))
    assert [path.name for path in tmp_path.iterdir()] == [scenes.FOLDER]
    assert len(listing(tmp_path)) == 10


@pytest.mark.usefixtures("few")
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(seed: tuple[int, int], style: str) -> tuple[np.ndarray, np.ndarray]:
        if seed == (1, 0):
            raise OSError("No space left on device")
        return draw_scene(seed, style)

    with monkeypatch.context() as patch:
        patch.setattr(scenes, "draw_scene", full_disk)
        with pytest.raises(OSError, match="No space left"):
            make_scenes(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    make_scenes(str(tmp_path))
    assert len(listing(tmp_path)) == 10


def test_registered_splits_are_those_that_are_drawn() -> None:
    assert {f"scenes_sem_seg_{split}" for split in scenes.SPLITS} <= set(DatasetCatalog.list())


@pytest.mark.usefixtures("few")
def test_what_a_killed_run_left_is_removed_but_not_what_another_is_drawing(tmp_path: Path) -> None:
    old, new = (tmp_path / f".{scenes.FOLDER}-{name}" for name in ("old", "new"))
    for folder in (old, new):
        (folder / "images").mkdir(parents=True)
    os.utime(old, (time.time() - 2 * scenes.ABANDONED_AFTER,) * 2)
    make_scenes(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.name, scenes.FOLDER])
