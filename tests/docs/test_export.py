"""docs/export.md: its commands, and its runner in an environment that has nothing of ours."""

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from icpc_d2.inference import onnx_predictor
from icpc_d2.inference.export.check import BOUNDS
from icpc_d2.inference.export.export import ExportOptions
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.export import command as export
from tests.support.datasets import random_image, save
from tests.support.documents import commands_of, read, run, snippet


def test_commands(clone: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/inference/test_export.py writes and checks such files; here each is the same one."""
    (clone / "output").mkdir()
    (clone / "output" / "quickstart").symlink_to(exported.parents[1])
    save(clone / "picture.png", random_image())
    asked = {}

    def write(weights: str, target: Path, options: ExportOptions) -> list:
        assert Path(weights).samefile(exported.parents[1] / "model_final.pth")
        shutil.copy(exported, target)
        asked[target.name] = options
        return []

    monkeypatch.setattr(export, "export_model", write)
    for command in commands_of("docs/export.md"):
        if not command.startswith("icpc app "):  # needs Gradio; tests/tools/test_export.py loads such a file for it
            run(command, monkeypatch)
    assert asked == {
        "model.onnx": ExportOptions(),
        "fixed.onnx": ExportOptions(size=(160, 224), labels=True),
        "words.onnx": ExportOptions(class_names=(("sky",), ("a red car",), ("everything else",))),
        "half.onnx": ExportOptions(half=True),
        "page.onnx": ExportOptions(alignment=True),
        "model.pt2": ExportOptions(),
    }
    assert (clone / "output" / "seen" / "picture_overlay.png").is_file()


def test_figures_of_the_page_are_those_of_the_code(exported: Path) -> None:
    text = read("docs/export.md")
    for name, bounds in (("single", BOUNDS["float32"]), ("half", BOUNDS["float16"])):
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {name}"))
        assert f"| {bounds.difference:g} " in row and f"| {100 * bounds.equal:.4g} % |" in row
    keys = set(onnx_predictor.OnnxPredictor(exported).metadata)
    assert {key for key in keys if f"`icpc.{key}`" not in text} == set()


def test_figures_of_the_quickstart(clone: Path, few_scenes: None, exported: Path) -> None:
    (clone / "output").mkdir()
    (clone / "output" / "quickstart").symlink_to(exported.parents[1])
    (clone / "model.onnx").symlink_to(exported)
    found = {}
    exec(snippet(read("docs/export.md"), "figures"), found)
    labels = [np.asarray(Image.open(entry["sem_seg_file_name"])) for entry in DatasetCatalog.get("scenes_sem_seg_val")]
    assert len(labels) == 5
    counts = sum(np.bincount(label.ravel(), minlength=256)[: found["classes"]] for label in labels)
    assert (found["confusion"].sum(2) == counts).all()
    assert np.mean(found["equal"]) > 0.999
    assert np.nanmean(found["iou"][1]) == pytest.approx(np.nanmean(found["iou"][0]), abs=0.001)


def test_runner_where_neither_pytorch_nor_detectron2_is(exported: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (installed,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name in ("numpy", "onnxruntime", "PIL"):
        package = Path(__import__(name).__file__).parent
        for place in (package, *package.parent.glob(f"{name.replace('PIL', 'pillow')}.libs")):
            (installed / place.name).symlink_to(place)
    shutil.copy(onnx_predictor.__file__, tmp_path)
    shutil.copy(exported, tmp_path)
    blocks = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    image = np.asarray(Image.fromarray(blocks).resize((90, 60)))
    Image.fromarray(image).save(tmp_path / "picture.png")
    without = (
        "import importlib.util as i\nassert not any(map(i.find_spec, ('torch', 'detectron2', 'icpc_d2', 'cv2')))\n"
    )
    after = "\nimport numpy\nnumpy.save('labels.npy', prediction.labels)\nprediction.save('summary.json', 'json')"

    subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", without + snippet(read("docs/export.md"), "runner") + after],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        check=True,
    )

    wanted = Predictor(exported.parents[1] / "model_final.pth", "cpu")(image)
    assert (np.load(tmp_path / "labels.npy") == wanted.labels).mean() > 0.999
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["width"] == 90 and {entry["class"] for entry in found["classes"]} <= set(wanted.classes)
    assert (tmp_path / "overlay.png").is_file()
