"""The full-size configs of ADE20K-Full and COCO-Stuff10k train on real samples, from random weights and small crops."""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from icpc_d2.tools.prepare.command import SETS, main
from tests.support.programs import ROOT, run_forked

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the real samples of a data set, prepared once."""

    @cache
    def prepare(name: str) -> Path:
        folder, root = SETS[name].folder, tmp_path_factory.mktemp(name)
        (root / folder).mkdir()
        for entry in (SHARED / folder).iterdir():
            (root / folder / entry.name).symlink_to(entry)
        assert main([name, "--root", str(root), "--workers", "1"]) == 0
        return root

    return prepare


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real images are not there: {SHARED}")
@pytest.mark.parametrize(
    ("name", "backbone"), [("ade20k_full", "R50"), ("coco_stuff_10k", "ViTB"), ("coco_stuff_10k", "R101")]
)
def test_two_iterations(prepared: Callable[[str], Path], tmp_path: Path, name: str, backbone: str) -> None:
    overrides = {
        "MODEL.DEVICE": "cpu",
        "MODEL.WEIGHTS": "",
        "INPUT.MIN_SIZE_TRAIN": "(64,)",
        "INPUT.CROP.SIZE": "(64,64)",
        "DATASETS.TEST": "()",
        "SOLVER.IMS_PER_BATCH": "1",
        "SOLVER.MAX_ITER": "2",
        "DATALOADER.NUM_WORKERS": "1",
        "OUTPUT_DIR": str(tmp_path / "output"),
    }
    command = [sys.executable, "train_net.py", "--config-file", f"configs/{name}/icpc_{backbone}.yaml"]
    options = [word for pair in overrides.items() for word in pair]
    done = run_forked([*command, "--dist-url", "auto", *options], DETECTRON2_DATASETS=str(prepared(name)))
    assert done.returncode == 0, done.stdout[-4000:]
    metrics = json.loads((tmp_path / "output/metrics.json").read_text().splitlines()[-1])
    assert metrics["iteration"] == 1
    assert 0 < metrics["total_loss"] < 50
