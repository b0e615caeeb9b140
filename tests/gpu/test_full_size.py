"""Two iterations of each full-size model by train_net.py, from its config to a checkpoint and a figure."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import defaults
from PIL import Image

from icpc_d2.analysis.random_models import class_names
from tests.support.configs import CONFIGS
from tests.support.documents import SMALL, settings
from tests.support.programs import ROOT

FULL_SIZE = [path.relative_to(CONFIGS).as_posix() for path in sorted((CONFIGS / "ade20k").glob("*.yaml"))]
# 847 classes, of which labels have 16 bits.
FULL_SIZE += [f"ade20k_full/{method}_{encoder}.yaml" for method in ("icpc", "denseclip") for encoder in ("R50", "ViTB")]
TINY = {
    "R50": settings(MODEL__CLIP__ARCH="tiny-RN", MODEL__CLIP__IMAGE_SIZE=0),
    "R101": settings(MODEL__CLIP__ARCH="tiny-RN", MODEL__CLIP__IMAGE_SIZE=0),
    "ViTB": settings(MODEL__CLIP__ARCH="tiny-ViT", MODEL__CLIP__IMAGE_SIZE=0, MODEL__CLIP__VIT_BLOCKS="[0,1,2,3]"),
}


def make_folder(folder: Path, num_classes: int) -> Path:
    """A data set of ADE20K's classes, and of its usual size: two images to train, one to validate."""
    rng = np.random.default_rng(0)
    dtype = np.uint8 if num_classes < 256 else np.uint16
    for split, count in (("train", 2), ("val", 1)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            label = rng.integers(0, num_classes, (16, 22)).astype(dtype).repeat(32, 0).repeat(32, 1)
            Image.fromarray(label).save(folder / "labels" / split / f"{index}.png")
            image = (label[..., None] * np.array([1, 7, 31]) % 256).astype(np.uint8)
            Image.fromarray(image).save(folder / "images" / split / f"{index}.jpg")
    (folder / "classes.txt").write_text("\n".join(class_names(num_classes)) + "\n")
    return folder


@pytest.mark.parametrize("config", FULL_SIZE)
def test_two_iterations(
    config: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs_as_before: None
) -> None:
    data, output = make_folder(tmp_path / "data", 847 if "full" in config else 150), tmp_path / "output"
    options = settings(
        DATASETS__TRAIN=f"('folder:{data}/train',)",
        DATASETS__TEST=f"('folder:{data}/val',)",
        OUTPUT_DIR=output,
        MODEL__DEVICE=device,
        MODEL__WEIGHTS="",
        MODEL__TEXT_ENCODER__WEIGHTS="",
        SOLVER__MAX_ITER=2,
        SOLVER__IMS_PER_BATCH=2,
        DATALOADER__NUM_WORKERS=0,
        TEST__EVAL_PERIOD=0,
        SOLVER__AMP__ENABLED=True,
        SOLVER__AMP__PRECISION="bfloat16",
    )
    if device == "cpu":
        options += [
            *SMALL,
            *TINY[config.removesuffix(".yaml").rpartition("_")[2]],
            "TEST.SLIDING_WINDOW.ENABLED",
            "False",
        ]
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--config-file", str(CONFIGS / config), *options])
    # It starts compilers to ask for their versions.
    monkeypatch.setattr(defaults, "collect_env_info", lambda: "")
    known = {*DatasetCatalog.list()}
    try:
        runpy.run_path(str(ROOT / "train_net.py"), run_name="__main__")
    finally:
        for name in {*DatasetCatalog.list()} - known:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    assert (output / "model_final.pth").stat().st_size > 0
    (output / "model_final.pth").unlink()
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert lines[-1]["iteration"] in (1, 2)
    assert all(np.isfinite(value) for line in lines for name, value in line.items() if "loss" in name)
    assert "mIoU" in (output / "results.json").read_text()
