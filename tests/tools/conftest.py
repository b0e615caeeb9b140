"""A tiny model with random weights, as training leaves it, and the web page that shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from icpc_d2 import add_icpc_config
from icpc_d2.config_files import get_config_file
from icpc_d2.predictor import Predictor
from icpc_d2.tools import app
from icpc_d2.tools.uploads import Limits
from icpc_d2.tools.workbench import Workbench

CLASSES = ["sky", "tree", "water", "car"]
LIMITS = Limits(bytes=3 * 2**20)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's model for four classes, with its config beside it."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(get_config_file("quickstart/icpc_tiny.yaml"))
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.DEVICE = CLASSES, "cpu"
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.yaml").write_text(cfg.dump())
    DetectionCheckpointer(build_model(cfg), str(folder)).save("model_final")
    return folder / "model_final.pth"


@pytest.fixture(scope="session")
def predictor(checkpoint: Path) -> Predictor:
    """The model of `checkpoint` on the CPU."""
    return Predictor(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def server(predictor: Predictor) -> Iterator[str]:
    """The address of a page with this model."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*app.SETTINGS, "GRADIO_TEMP_DIR"):
            patch.setenv(name, "")  # so that what the page sets is undone
        with app.serve(Workbench(predictor, LIMITS), "127.0.0.1", 0, None, "random.pth") as url:
            yield url
