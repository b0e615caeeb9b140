"""docs/own_data.md: its commands, run as they stand on a folder made here (but for fewer and smaller iterations)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from tests.figures import read_figures

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/own_data.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
SMALL = (
    " SOLVER.MAX_ITER 2 SOLVER.IMS_PER_BATCH 2 SOLVER.WARMUP_ITERS 1 TEST.EVAL_PERIOD 2 DATALOADER.NUM_WORKERS 1"
    " INPUT.MIN_SIZE_TRAIN '(64,)' INPUT.CROP.SIZE '(64,64)' INPUT.MIN_SIZE_TEST 48 TEST.SEM_SEG.NUM_PICTURES 1"
)


def snippet(name: str) -> str:
    return re.search(f"<!-- tested: {re.escape(name)} -->\n```(?:python)?\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project and with ``mine/``, whose training labels are ids and validation labels colours."""
    place = tmp_path_factory.mktemp("workplace")
    for name in ("train_net.py", "configs", "icpc_d2"):
        (place / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    colors = np.array([[70, 130, 180], [128, 64, 128], [40, 140, 40]], np.uint8)
    for split, count in (("train", 5), ("val", 2)):
        for kind in ("images", "labels"):
            (place / "mine" / kind / split).mkdir(parents=True)
        for k in range(count):
            ids = np.kron(rng.integers(0, 3, (4, 5), np.uint8), np.ones((12, 12), np.uint8))
            Image.fromarray(colors[ids] + np.uint8(9)).save(place / f"mine/images/{split}/{k}.jpg")
            Image.fromarray(ids if split == "train" else colors[ids]).save(place / f"mine/labels/{split}/{k}.png")
    (place / "mine/classes.txt").write_text(snippet("classes.txt"))
    return place


def run(place: Path, command: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command + (SMALL if "train_net.py" in command else ""),
        shell=True,
        cwd=place,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_from_a_folder_to_a_trained_model(workplace: Path) -> None:
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        done = run(workplace, command)
        assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-4000:]}"
    assert len(list((workplace / "checked").glob("*.png"))) == 5
    results = read_figures(workplace / "output/mine")
    assert {"mIoU", "IoU-sky", "IoU-road", "IoU-tree"} <= results.keys()
    assert read_figures(workplace / "output/mine_again") == results

    # The same weights on another list of classes: the error of the last section.
    classes = workplace / "mine/classes.txt"
    classes.write_text(snippet("classes.txt").replace("tree", "bush"))
    done = run(workplace, COMMANDS[-1])
    assert done.returncode != 0
    assert "1 differ (id: weights -> data): 2: 'tree' -> 'bush'" in done.stdout + done.stderr
    classes.write_text(snippet("classes.txt"))


def test_from_python(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    exec(snippet("python"), {})
    try:
        assert len(DatasetCatalog.get("mine_train")) == 5
        assert MetadataCatalog.get("mine_val").stuff_classes == ["sky", "road", "tree"]
    finally:
        for name in ("mine_train", "mine_val"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
