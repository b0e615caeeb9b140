"""The README's Python runs, and every path, module and make target that the documents name exists."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from icpc_d2 import add_icpc_config
from icpc_d2.config_files import get_config_file

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


def snippet(name: str) -> str:
    return re.search(f"<!-- tested: {name} -->\n```python\n(.*?)```", README, re.DOTALL)[1]


def test_icpc_inside_another_project() -> None:
    exec(snippet("other_project"), {})


def test_prediction_on_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(get_config_file("quickstart/icpc_tiny.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.CLASS_NAMES = "cpu", ["sky", "road"]
    output = tmp_path / "output" / "quickstart"
    output.mkdir(parents=True)
    (output / "config.yaml").write_text(cfg.dump())
    DetectionCheckpointer(build_model(cfg), str(output)).save("model_final")
    Image.fromarray(np.random.randint(0, 256, (48, 80, 3), dtype=np.uint8)).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)

    names = {}
    exec(snippet("predict"), names)

    assert names["labels"].shape == (48, 80)
    assert names["names"] == ["sky", "road"]

    found = {}
    exec(snippet("predictor"), found)

    assert np.array_equal(found["prediction"].labels, names["labels"].numpy())
    assert found["words"].classes == ["sky", "a red car", "everything else"]
    assert (tmp_path / "overlay.png").is_file()


def test_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        for kind, ending, pixels in (("images", "jpg", (40, 60, 3)), ("labels", "png", (40, 60))):
            folder = tmp_path / "datasets" / "mine" / kind / split
            folder.mkdir(parents=True)
            Image.fromarray(np.random.randint(0, 3, pixels, dtype=np.uint8)).save(folder / f"one.{ending}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)

    names = {"__name__": "train_mine"}
    try:
        exec(snippet("own_data"), names)
        config = get_config_file("quickstart/icpc_tiny.yaml")
        arguments = ["--config-file", config, "DATASETS.TRAIN", '("mine_train",)', "DATASETS.TEST", '("mine_val",)']
        arguments += [
            "OUTPUT_DIR",
            "output/mine",
            "SOLVER.MAX_ITER",
            "1",
            "SOLVER.IMS_PER_BATCH",
            "1",
            "DATALOADER.NUM_WORKERS",
            "0",
        ]
        names["main"](names["default_argument_parser"]().parse_args(arguments))
    finally:
        for split in ("train", "val"):
            if f"mine_{split}" in DatasetCatalog:
                DatasetCatalog.remove(f"mine_{split}")
                MetadataCatalog.remove(f"mine_{split}")

    results = json.loads(Path("output/mine/results.json").read_text())
    assert {"mIoU", "IoU-sky", "IoU-road", "IoU-tree"} <= results.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_documents_name_exists(document: Path) -> None:
    text = document.read_text()
    links = {document.parent / link for link in re.findall(r"\]\(([\w./]+)\)", text)}
    names = re.findall(r"`((?:icpc_d2|configs|tests)/[\w./]*)`|--config-file (configs/[\w./]+\.yaml)", text)
    missing = [path for path in links | {ROOT / name for groups in names for name in groups} if not path.exists()]
    assert not missing

    modules = set(re.findall(r"python -m (icpc_d2[\w.]*\w)", text)) - {"icpc_d2.tools"}
    assert not [module for module in modules if importlib.util.find_spec(module) is None]

    targets = set(re.findall(r"\bmake ([a-z][\w-]*)", "\n".join(re.findall(r"`+[^`]+`+", text))))
    makefile = (ROOT / "Makefile").read_text()
    assert not [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
