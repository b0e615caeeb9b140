"""Studies of one table, with a script in place of ``train_net.py`` that trains in no time."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.config import get_config_file
from icpc_d2.tools.study import command as study
from icpc_d2.tools.study import schedule
from icpc_d2.tools.study.plan import read_study
from icpc_d2.tools.study.runs import StudyRun
from tests.support.programs import Forked
from tests.support.studies import SCRIPT, run, starts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of two configs and two seeds."""
    for name, rate in (("a", 1.0), ("b", 4.0)):
        (tmp_path / f"{name}.yaml").write_text(f"VERSION: 2\nSOLVER:\n  BASE_LR: {rate}\n  MAX_ITER: 20\n")
    (tmp_path / "study.yaml").write_text("configs: {The First: a.yaml, B: b.yaml}\nseeds: [0, 2]\ntitle: Two\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0.02)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def first_run(folder: Path) -> StudyRun:
    return next(iter(read_study(folder / "study.yaml", folder / "out").metrics))


def test_all_runs_are_trained_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--jobs", "2") == 0
    names = {f"{label}/seed_{seed}" for label in ("the_first", "b") for seed in (0, 2)}
    assert starts(folder) == dict.fromkeys(names, 1)
    results = json.loads((folder / "out" / "results.json").read_text())["results"]
    assert results["The First"]["seeds"] == {"0": 1.0, "2": 21.0}
    assert results["B"]["mean"] == 14.0
    assert results["B"]["std"] == pytest.approx(200**0.5)
    table = (folder / "out" / "table.md").read_text().splitlines()
    assert [cell.strip() for cell in table[3].split("|")[1:6]] == ["B", "4.00", "24.00", "14.00 ± 14.14", "+3.00"]
    for name in ("scores.svg", "curves.svg"):
        assert "The First" in (folder / "out" / name).read_text()
    said = capsys.readouterr()
    assert "B, seed 2: mIoU 24.00" in said.out + said.err
    assert "100%" in said.err


def test_threads_are_shared_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    run(folder, "--jobs", "4")
    assert (folder / "out" / "b" / "seed_0" / "starts.txt").read_text().split()[1] == "2"


def test_finished_runs_are_skipped_and_failed_ones_tried_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fail_seed_2").touch()
    assert run(folder) == 1
    said = capsys.readouterr()
    assert "B, seed 2: failed with exit status 1" in said.out + said.err
    assert "no luck" in said.out + said.err
    # Its first evaluation has written a results.json, which must not count.
    assert json.loads((folder / "out" / "results.json").read_text())["results"]["B"]["seeds"] == {"0": 4.0}
    assert "        - |" in (folder / "out" / "table.md").read_text().splitlines()[3]

    (folder / "fail_seed_2").unlink()
    assert run(folder) == 0
    assert starts(folder) == {"the_first/seed_0": 1, "the_first/seed_2": 2, "b/seed_0": 1, "b/seed_2": 2}
    assert json.loads((folder / "out" / "results.json").read_text())["results"]["B"]["seeds"] == {"0": 4.0, "2": 24.0}


def test_an_interrupted_study_stops_its_runs_and_goes_on_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hang_seed_0").touch()
    started = folder / "out" / "the_first" / "seed_0" / "starts.txt"

    def interrupt(seconds: float) -> None:
        time.sleep(seconds)
        if started.is_file() and started.read_text().endswith("\n"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schedule, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    pid = int(started.read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not first_run(folder).is_finished()

    (folder / "hang_seed_0").unlink()
    assert run(folder) == 0
    assert starts(folder)["the_first/seed_0"] == 2


def test_runs_of_another_config_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    (folder / "b.yaml").write_text("VERSION: 2\nSOLVER:\n  BASE_LR: 5.0\n  MAX_ITER: 20\n")
    assert run(folder) == 1
    assert "holds a run of another config" in capsys.readouterr().err
    assert starts(folder)["b/seed_0"] == 1


def test_runs_that_started_from_other_weights_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same address: a file that was written anew, or weights of another version of the package."""
    weights = folder / "clip.pth"
    weights.write_text("first")
    assert run(folder, "MODEL.WEIGHTS", str(weights)) == 0
    assert run(folder, "MODEL.WEIGHTS", str(weights)) == 0, "the same weights, and nothing is trained again"
    weights.write_text("others")
    assert run(folder, "MODEL.WEIGHTS", str(weights)) == 1
    assert f"started from {weights} when that was another file" in capsys.readouterr().err
    assert starts(folder)["b/seed_0"] == 1


def test_the_report_alone_trains_nothing(folder: Path) -> None:
    assert run(folder, "--report-only", "--plots", "png") == 0
    assert starts(folder) == {}
    assert (folder / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [0]", "wanted ['configs', 'seeds']"),
        ("just words", "found str"),
        ("configs: {a: a.yaml}\nseeds: [0]\nseed: 3", "'seed'"),
        ("configs: {a: a.yaml}\nseeds: [1, 1]", "wanted different integers"),
        ("configs: {a: a.yaml}\nseeds: 3", "wanted different integers"),
        ("configs: {a: a.yaml, A: b.yaml}\nseeds: [0]", "would share a folder"),
        ("configs: {a: gone.yaml}\nseeds: [0]", "gone.yaml, which does not exist"),
        ("configs: [a.yaml]\nseeds: [0]", "wanted 'label: config file'"),
        ("configs: {a: a.yaml}\nseeds: [0]\noptions: [SOLVER.MAX_ITERS, 3]", "SOLVER.MAX_ITERS"),
    ],
)
def test_wrong_studies_are_told_so(
    folder: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "study.yaml").write_text(content)
    assert run(folder) == 1
    assert message in capsys.readouterr().err
    assert starts(folder) == {}


def test_progress_is_the_share_of_iterations(folder: Path) -> None:
    run_a = first_run(folder)
    assert run_a.iterations() == 20
    assert run_a.progress(20) == 0.0
    run_a.folder.mkdir(parents=True)
    (run_a.folder / "metrics.json").write_text('{"iteration": 5}\n{"iteration": 5, "sem_seg/mIoU": 1}\n')
    assert run_a.progress(20) == 0.25


def test_the_configs_of_the_camvid_study_differ_in_the_method_alone() -> None:
    path = Path(get_config_file("camvid/study/study.yaml"))
    (table,) = read_study(path, Path("out")).tables
    found = {label: row.runs[0] for label, row in table.rows.items()}
    methods = {}
    for label, one in found.items():
        cfg = load_resolved_config(str(one.config)).clone()
        cfg.defrost()
        model = cfg.MODEL
        methods[label] = (model.PROMPT.NAME, model.CONTRASTIVE.LOSS_WEIGHT > 0, model.ALIGNMENT.MULTI_SCALE)
        model.PROMPT.NAME, model.CONTRASTIVE.LOSS_WEIGHT, model.ALIGNMENT.MULTI_SCALE = "", 0.0, False
        cfg.OUTPUT_DIR = ""
        found[label] = cfg.dump()
    assert len(set(found.values())) == 1
    assert methods == {
        "DenseCLIP": ("coop", False, False),
        "I.C.": ("icpc", False, False),
        "C.L.": ("coop", True, False),
        "M.S.": ("coop", False, True),
        "I.C. + C.L. + M.S.": ("icpc", True, True),
    }


@pytest.mark.slow
def test_a_study_with_the_real_script(
    camvid_datasets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted between two of its checkpoints, and started again."""
    options = (
        "SOLVER.MAX_ITER 4 SOLVER.CHECKPOINT_PERIOD 2 TEST.EVAL_PERIOD 2 SOLVER.IMS_PER_BATCH 2 INPUT.MIN_SIZE_TEST 48"
    )
    options += " INPUT.MIN_SIZE_TRAIN (64,) INPUT.CROP.SIZE (64,64)"
    content = {"configs": {"C.L.": get_config_file("camvid/study/cl.yaml")}, "seeds": [3], "options": options.split()}
    (tmp_path / "study.yaml").write_text(json.dumps(content))  # which is YAML, too
    monkeypatch.setenv("DETECTRON2_DATASETS", str(camvid_datasets))
    folder = tmp_path / "out" / "c_l" / "seed_3"

    def interrupt(seconds: float) -> None:
        time.sleep(seconds)
        if (folder / "results.json").is_file():
            raise KeyboardInterrupt

    arguments = [str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
        with pytest.raises(KeyboardInterrupt):
            study.main(arguments)
    monkeypatch.setattr(schedule, "subprocess", SimpleNamespace(Popen=Forked, STDOUT=subprocess.STDOUT))
    assert study.main(arguments) == 0
    starts = re.findall(r"Starting training from iteration (\d+)", (folder / "log.txt").read_text())
    assert len(starts) == 2 and starts[0] == "0" and int(starts[1]) >= 2, "where the signal met it, not anew"
    results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]["C.L."]
    assert results["seeds"] == {"3": json.loads((folder / "results.json").read_text())["mIoU"]}
