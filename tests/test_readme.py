"""The README's Python runs, and every path, module and make target that the documents name exists."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from PIL import Image

from icpc_cli import COMMANDS
from icpc_d2 import add_icpc_config
from icpc_d2.config import get_config_file
from icpc_d2.tools.prepare.command import SETS
from tests.support.documents import ROOT, documents, read, snippet

README = read("README.md")


def test_icpc_inside_another_project() -> None:
    exec(snippet(README, "other_project"), {})


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
    exec(snippet(README, "predict"), names)

    assert names["labels"].shape == (48, 80)
    assert names["names"] == ["sky", "road"]

    found = {}
    exec(snippet(README, "predictor"), found)

    assert np.array_equal(found["prediction"].labels, names["labels"].numpy())
    assert found["words"].classes == ["sky", "a red car", "everything else"]
    assert (tmp_path / "overlay.png").is_file()


def test_what_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    missing = []
    for document in documents():
        text = read(document)
        links = {(ROOT / document).parent / link for link in re.findall(r"\]\(([\w./]+)\)", text)}
        names = re.findall(r"`((?:icpc_d2|configs|tests)/[\w./]*)`|--config-file (configs/[\w./]+\.yaml)", text)
        paths = links | {ROOT / name for groups in names for name in groups}
        modules = set(re.findall(r"python -m (icpc_d2[\w.]*\w)(?![\w<])", text)) - {"icpc_d2.tools"}
        targets = set(re.findall(r"\bmake ([a-z][\w-]*)", "\n".join(re.findall(r"`+[^`]+`+", text))))
        wrong = [
            *(path for path in paths if not path.exists()),
            *(module for module in modules if importlib.util.find_spec(module) is None),
            *(f"icpc {name}" for name in set(re.findall(r"(?:^|`|<- )icpc ([\w-]+)", text, re.M)) - {*COMMANDS}),
            *(f"icpc prepare {name}" for name in set(re.findall(r"\bicpc prepare (\w+)", text)) - {*SETS}),
            *(f"make {target}" for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)),
        ]
        missing += [f"{document}: {name}" for name in wrong]
    assert missing == []
