"""``train_net.py`` from the command line, as its users run it: on a tiny CamVid, with a tiny model, on the CPU."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.support.programs import ROOT, run_forked, run_program
from tests.support.results import read_results as results

CLASSES = 11
TINY = {
    "MODEL.DEVICE": "cuda",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.CROP.SIZE": "(64,64)",
    "INPUT.MIN_SIZE_TEST": "48",
    "DATALOADER.NUM_WORKERS": "0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.WARMUP_ITERS": "1",
    "SOLVER.MAX_ITER": "4",
    "SOLVER.CHECKPOINT_PERIOD": "2",
    "TEST.EVAL_PERIOD": "2",
    "TEST.SEM_SEG.NUM_PICTURES": "2",
}


def train_net(camvid_datasets: Path, output: Path, *flags: str, run: Callable = run_forked, **overrides: str) -> str:
    """Run the script on configs/camvid/icpc_tiny.yaml; return what it wrote to the terminal.

    Args:
        run: `run_program` or `run_forked`.
        overrides: of the config, with "__" for the dots.
    """
    keys = TINY | {"OUTPUT_DIR": str(output)} | {key.replace("__", "."): value for key, value in overrides.items()}
    command = [sys.executable, "train_net.py", "--config-file", "configs/camvid/icpc_tiny.yaml", "--dist-url", "auto"]
    options = [word for pair in keys.items() for word in pair]
    done = run([*command, *flags, *options], DETECTRON2_DATASETS=str(camvid_datasets))
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(camvid_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("trained")
    return output, train_net(camvid_datasets, output, run=run_program)


def test_training_leaves_everything_in_its_folder(trained: tuple[Path, str]) -> None:
    output, log = trained
    assert {"mIoU", "IoU-sky", "fwIoU", "mACC", "pACC"} <= results(output).keys()
    assert len([name for name in results(output) if name.startswith("IoU-")]) == CLASSES
    assert len(list((output / "pictures").glob("*.png"))) == 2
    assert list(output.glob("events.out.tfevents.*"))
    for name in ("model_0000001.pth", "model_final.pth", "model_best.pth", "log.txt"):
        assert (output / name).stat().st_size > 0, name
    metrics = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert metrics[-1]["iteration"] == 4
    assert metrics[-1]["sem_seg/mIoU"] == results(output)["mIoU"]
    assert any({"loss_sem_seg", "loss_align", "loss_contrast", "lr"} <= line.keys() for line in metrics)
    assert "mIoU" in log.rsplit("class ", 1)[1], "the table is in the log"
    assert "eta: " in log


def test_the_config_that_was_used_is_complete(trained: tuple[Path, str]) -> None:
    output, log = trained
    cfg = yaml.unsafe_load((output / "config.yaml").read_text())  # the test's own file, with Python tuples
    assert "running on the CPU" in log
    assert cfg["MODEL"]["DEVICE"] == "cpu"
    assert cfg["MODEL"]["SEM_SEG_HEAD"]["NORM"] == "BN"
    assert len(cfg["MODEL"]["CLASS_NAMES"]) == cfg["MODEL"]["SEM_SEG_HEAD"]["NUM_CLASSES"] == CLASSES


def test_eval_only_repeats_the_figures(trained: tuple[Path, str], camvid_datasets: Path, tmp_path: Path) -> None:
    weights = str(trained[0] / "model_final.pth")
    train_net(camvid_datasets, tmp_path, "--eval-only", MODEL__WEIGHTS=weights)
    assert results(tmp_path) == results(trained[0])
    assert not (tmp_path / "model_final.pth").exists()


def test_eval_only_at_several_scales_on_other_classes(
    trained: tuple[Path, str], camvid_datasets: Path, tmp_path: Path
) -> None:
    """Table 9's way: eleven classes, of which two are among a folder's three."""
    folder = tmp_path / "other"
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    (folder / "classes.txt").write_text("boat\nautomobile\nsky\n")
    (folder / "shared.txt").write_text("automobile | car\nsky\n")
    for index in range(3):
        label = np.random.randint(0, 3, (40, 56), dtype=np.uint8)
        Image.fromarray(label).save(folder / "labels" / "val" / f"{index}.png")
        Image.fromarray(np.repeat(20 * label[..., None], 3, 2)).save(folder / "images" / "val" / f"{index}.jpg")
    overrides = {
        "MODEL__WEIGHTS": str(trained[0] / "model_final.pth"),
        "DATASETS__TEST": f"('folder:{folder}/val',)",
        "TEST__CROSS_DOMAIN__SHARED_CLASSES": f"['{folder}/shared.txt']",
        "TEST__AUG__ENABLED": "True",
        "TEST__AUG__SCALES": "(0.75,1.25)",
    }
    log = train_net(camvid_datasets, tmp_path / "output", "--eval-only", **overrides)
    tasks = ("sem_seg", "sem_seg_shared")
    figures = {task: results(tmp_path / "output")[task] for task in tasks}
    for task in figures.values():
        assert {name for name in task if name.startswith("IoU-")} == {"IoU-automobile", "IoU-sky"}
        assert task["mIoU"] == pytest.approx((task["IoU-automobile"] + task["IoU-sky"]) / 2)
    assert figures["sem_seg_shared"]["pACC"] > figures["sem_seg"]["pACC"]
    assert len(list((tmp_path / "output" / "pictures").rglob("*.png"))) == 2
    assert all(f"{task}\n" in log for task in tasks)
    assert "Augmentations in inference: []" in log, "the scales start from the picture as it is"


def test_resume_continues_the_training(trained: tuple[Path, str], camvid_datasets: Path, tmp_path: Path) -> None:
    output = tmp_path / "resumed"
    output.mkdir()
    for name in ("model_final.pth", "last_checkpoint", "model_best.pth", "model_best.json"):
        (output / name).write_bytes((trained[0] / name).read_bytes())
    log = train_net(camvid_datasets, output, "--resume", SOLVER__MAX_ITER="6")
    assert "Starting training from iteration 4" in log
    checkpoint = torch.load(output / "model_final.pth", weights_only=True)
    assert checkpoint["iteration"] == 5
    optimizer = checkpoint["trainer"]["_trainer"]["optimizer"]
    assert {int(state["step"]) for state in optimizer["state"].values()} == {6}
    before = torch.load(trained[0] / "model_final.pth", weights_only=True)["model"]
    moved = {name for name, value in checkpoint["model"].items() if not torch.equal(value, before[name])}
    assert moved
    assert not any(name.startswith("text_encoder.") for name in moved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config-file is missing; configs/quickstart"),
        (["--config-file", "nowhere.yaml"], "nowhere.yaml: there is no"),
    ],
)
def test_a_wrong_command_line_is_told_so(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "train_net.py"))["parse_args"](arguments)
    assert message in capsys.readouterr().err
