"""docs/predict.md, gallery.md and tutorials: each command and each piece of Python runs, on small pictures."""

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.data import scenes
from icpc_d2.modeling.text.prompts import PROMPTS
from icpc_d2.tools.prepare_ade20k import ADE20K
from icpc_d2.tools.video import Frame, write_video
from tests.documents import ROOT, commands, place, run, settings, snippet
from tests.tiny_checkpoint import tiny_cfg, write_checkpoint

TUTORIALS = ROOT / "docs" / "tutorials"
DATASETS = Path(os.environ["DETECTRON2_DATASETS"])
SMALL = [
    *settings(
        SOLVER__MAX_ITER=2,
        SOLVER__IMS_PER_BATCH=2,
        SOLVER__WARMUP_ITERS=1,
        TEST__EVAL_PERIOD=0,
        DATALOADER__NUM_WORKERS=0,
        INPUT__MIN_SIZE_TRAIN="(64,)",
        INPUT__CROP__SIZE="(64,64)",
        INPUT__MIN_SIZE_TEST=64,
        TEST__SEM_SEG__NUM_PICTURES=1,
    )
]
# A config of the paper with the quickstart's networks.
TINY = [
    *settings(
        MODEL__CLIP__ARCH="tiny-RN",
        MODEL__CLIP__IMAGE_SIZE=0,
        MODEL__CONTEXT_DECODER__WIDTH=64,
        MODEL__FPN__OUT_CHANNELS=32,
        MODEL__SEM_SEG_HEAD__CONVS_DIM=32,
        MODEL__DEVICE="cpu",
        SOLVER__ACCUMULATE=1,
        TEST__AUG__SCALES="(0.5,1.0)",
    )
]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the project in it and a folder ``datasets`` where data sets are looked for."""
    place(tmp_path)
    (tmp_path / "datasets").symlink_to(DATASETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A handful of generated pictures in place of all of them."""
    folder = DATASETS / scenes.FOLDER
    is_there = folder.is_dir()
    monkeypatch.setattr(scenes, "SPLITS", {"train": 4, "val": 5})
    yield
    if not is_there:
        shutil.rmtree(folder, ignore_errors=True)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def figures(folder: Path) -> dict[str, float]:
    """What an evaluation gave."""
    return {
        name: value
        for name, value in json.loads((folder / "results.json").read_text()).items()
        if isinstance(value, float)
    }


def test_first_model_and_gallery(clone: Path, few_scenes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TUTORIALS / "first_model.md").read_text()
    save(clone / "picture.jpg", picture())
    for command in commands(text):
        if command.startswith("tensorboard"):
            assert list(Path(command.split()[-1]).rglob("events.out.tfevents.*"))
        else:
            run(command, monkeypatch, SMALL if "train_net.py" in command else ())

    output = clone / "output" / "quickstart"
    for name in ("results.json", "model_final.pth", "model_best.pth", "config.yaml", "log.txt", "metrics.json"):
        assert (output / name).is_file()
    assert figures(clone / "output/quickstart_best") == figures(output)
    assert {path.suffix for path in (clone / "output/seen").iterdir()} == {".png", ".json"}
    assert (clone / "output/words/picture_overlay.png").is_file()

    for command in commands((ROOT / "docs" / "gallery.md").read_text()):
        run(command, monkeypatch)
    assert {path.name for path in (clone / "output/gallery").iterdir()} == {
        f"000{index}_{kind}.png" for index in range(5) for kind in ("overlay", "side-by-side")
    }

    names: dict = {}
    exec(snippet(text, "predictor"), names)
    assert names["prediction"].labels.shape == (64, 96)
    assert (clone / "overlay.png").is_file()


def test_predict(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "predict.md").read_text()
    write_checkpoint(clone / "output/quickstart", tiny_cfg())
    for name in ("picture.jpg", "photos/a.jpg", "more/deep/down/b.png"):
        save(clone / name, picture())
    with write_video(clone / "film.mp4", Fraction(10)) as writer:
        writer.write(Frame(picture(), 0, Fraction(1, 10)))
    for command in commands(text):
        run(command, monkeypatch)
    kinds = {"overlay.png", "color.png", "label.png", "side-by-side.png"}
    found = {path.name for path in (clone / "output/seen").iterdir()}
    assert found == {f"picture_{kind}" for kind in kinds} | {
        "picture.json", "a_overlay.png", "b_overlay.png", "film_overlay.mp4", "film_legend.png"
    }  # fmt: skip
    assert (clone / "output/words/a_overlay.png").is_file()

    names: dict = {}
    exec(snippet(text, "predict"), names)
    assert 0 <= names["share"] <= 1
    assert names["words"].predict_from == "alignment"


@pytest.fixture
def ade20k(tmp_path: Path) -> Iterator[Path]:
    """The official archive with four training and two validation pictures; its folder goes afterwards."""
    archive, random = tmp_path / "archive.zip", np.random.default_rng(0)
    with zipfile.ZipFile(archive, "w") as members:
        for split, name, count in (("training", "train", 4), ("validation", "val", 2)):
            for number in range(1, count + 1):
                stem = f"ADE_{name}_{number:08d}"
                label = random.integers(0, 151, (4, 6), np.uint8).repeat(16, 0).repeat(16, 1)
                label[:16] = 3
                save(tmp_path / "image.jpg", picture())
                save(tmp_path / "label.png", label)
                members.write(tmp_path / "image.jpg", f"ADEChallengeData2016/images/{split}/{stem}.jpg")
                members.write(tmp_path / "label.png", f"ADEChallengeData2016/annotations/{split}/{stem}.png")
    yield archive
    shutil.rmtree(DATASETS / "ADEChallengeData2016", ignore_errors=True)
    (DATASETS / "ADEChallengeData2016.zip").unlink(missing_ok=True)


def test_ade20k(clone: Path, ade20k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TUTORIALS / "ade20k.md").read_text()
    save(clone / "photos" / "a.jpg", picture())
    for command in commands(text):
        if command.startswith("mkdir"):
            assert (clone / command.split()[-1]).is_dir()
        elif command.startswith("curl"):
            *_, target, page = command.split()
            assert page == ADE20K.page
            shutil.copy(ade20k, clone / target)
        elif "train_net.py" in command:
            # Random weights, and one process.
            weights = [] if "--eval-only" in command else ["MODEL.WEIGHTS", ""]
            run(command.replace("--num-gpus 8", ""), monkeypatch, [*SMALL, *TINY, *weights])
        else:
            run(command, monkeypatch, TINY if "flops" in command else ())

    output = clone / "output"
    results = {path.parent.name: figures(path.parent) for path in output.glob("ade20k/*/results.json")}
    assert set(results) == {"icpc_R50", "single_scale", "multi_scale", "alignment"}
    assert results["single_scale"] == results["icpc_R50"]
    for name in ("overlay.png", "regions.png", "confusion.svg", "curves.svg", "seen/a.json", "words/a_overlay.png"):
        assert (output / name).is_file(), name
    assert len(list((output / "checked").glob("*.png"))) == 2


@pytest.fixture
def mine(clone: Path) -> Iterator[None]:
    """The user's own folder of pictures, and catalogs that forget it afterwards."""
    for split in ("train", "val"):
        save(clone / f"mine/images/{split}/one.jpg", picture())
        save(clone / f"mine/labels/{split}/one.png", np.random.default_rng(0).integers(0, 3, (64, 96), np.uint8))
    yield
    for name in {"mine_train", "mine_val"} & set(DatasetCatalog.list()):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_project_of_ones_own(clone: Path, mine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TUTORIALS / "detectron2_project.md").read_text()
    for name in ("train_mine.py", "mine.yaml"):
        (clone / name).write_text(snippet(text, name))
    for command in commands(text):
        run(command, monkeypatch, SMALL)
    results = json.loads((clone / "output/mine/results.json").read_text())
    assert {"mIoU", "IoU-sky", "IoU-road", "IoU-tree"} <= results.keys()


def test_a_loop_of_ones_own() -> None:
    text = (TUTORIALS / "detectron2_project.md").read_text()
    names: dict = {}
    exec(snippet(text, "loop"), names)
    assert names["labels"].shape == (480, 640)
    assert all(loss.isfinite() for loss in names["losses"].values())


def test_parts_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TUTORIALS / "detectron2_project.md").read_text()
    monkeypatch.delitem(PROMPTS, "doubled", raising=False)
    names: dict = {}
    exec(snippet(text, "prompt"), names)
    prompt = PROMPTS.pop("doubled")(2, 8, 4, 1)
    assert prompt(None).shared.equal(2 * prompt.vectors)


@pytest.mark.slow
def test_a_backbone_under_another_head() -> None:
    names: dict = {}
    exec(snippet((TUTORIALS / "detectron2_project.md").read_text(), "backbone"), names)
    assert type(names["model"]).__name__ == "SemanticSegmentor"


def test_all_python_is_tested() -> None:
    for document in [*TUTORIALS.glob("*.md"), ROOT / "docs" / "predict.md"]:
        lines = document.read_text().splitlines()
        starts = [index for index, line in enumerate(lines) if line == "```python"]
        assert all(lines[index - 1].startswith("<!-- tested: ") for index in starts), document
