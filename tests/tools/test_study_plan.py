"""Plans of several tables: rows that stand in more than one, evaluations of what others train, claims and verdicts."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from icpc_d2.tools.study import report, schedule
from icpc_d2.tools.study.plan import read_study
from icpc_d2.tools.study.report import draw_plots
from tests.support.studies import SCRIPT, run, starts

PLAN = {
    "title": "Three rows in three tables",
    "seeds": [0, 1, 2, 3, 4],
    "trainings": {"a": "a.yaml", "b": "b.yaml"},
    "evaluations": {"b_by_night": {"config": "night.yaml", "training": "b"}},
    "tables": {
        "Table 1": {
            "rows": {"First": {"run": "a", "paper": 40.0}, "Second": {"run": "b", "paper": 43.5}},
            "claims": [{"better": "Second", "than": "First"}, {"better": "First", "than": "Second"}],
        },
        "Table 2": {
            "rows": {"Same again": "b", "The other": "a"},
            "claims": [{"better": "The other", "than": "Same again", "margin": 3.5}],
        },
        "Table 9": {
            "columns": {"night": "night/mIoU", "mean": ["night/mIoU", "snow/mIoU"]},
            "rows": {"By night": "b_by_night"},
        },
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, rate in (("a", 1.0), ("b", 4.0)):
        (tmp_path / f"{name}.yaml").write_text(f"VERSION: 2\nSOLVER:\n  BASE_LR: {rate}\n  MAX_ITER: 20\n")
    (tmp_path / "night.yaml").write_text("_BASE_: b.yaml\nDATASETS:\n  TEST: [night, snow]\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    # Takes longer than all the rest; the tests that look at plots draw them.
    monkeypatch.setattr(report, "draw_plots", lambda *arguments: None)
    return tmp_path


def cells(folder: Path, start: str, row: str) -> list[str]:
    """The cells of a row in the table whose text begins with `start`."""
    text = (folder / "out" / "table.md").read_text()
    lines = text[text.index(start) :].splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {row} ")][:1]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_row_is_made_once_and_shown_wherever_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_plots", draw_plots)
    assert run(folder, "--jobs", "3") == 0
    names = {f"{name}/seed_{seed}" for name in ("a", "b", "b_by_night") for seed in range(5)}
    assert starts(folder) == dict.fromkeys(names, 1)
    first, second = "**Table 1**", "**Table 2**"
    assert cells(folder, first, "Second")[:-1] == [
        "Second", "43.50", "4.00", "14.00", "24.00", "34.00", "44.00", "24.00 ± 15.81", "+3.00"
    ]  # fmt: skip
    # No row of this table has a figure of the paper, so that there is no column of it.
    assert cells(folder, second, "Same again")[1] == cells(folder, first, "Second")[2]
    # What the script reads from the weights of its own seed is 1 less; by snow it is 4 less again.
    assert cells(folder, "**Table 9**", "By night")[1:3] == ["23.00 ± 15.81", "21.00 ± 15.81"]
    for name in ("table_1_scores.svg", "table_1_curves.svg", "table_2_curves.svg", "table_9_scores.svg"):
        assert (folder / "out" / name).stat().st_size > 1000
    assert not (folder / "out" / "table_9_curves.svg").exists(), "an evaluation has no curve"


def test_claims_are_judged(folder: Path) -> None:
    assert run(folder) == 0
    claims = json.loads((folder / "out" / "results.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == ["shown", "contrary", "shown"]
    assert claims[0]["differences"] == dict.fromkeys("01234", 3.0)
    assert claims[0]["p"] == 1 / 32 and claims[1]["p_contrary"] == 1 / 32
    start = "| table"
    assert cells(folder, start, "Table 1") == [
        "Table 1", "Second above First", "+3.50", "+3.00 ± 0.00", "5", "0.031", "1.000", "shown"
    ]  # fmt: skip
    assert cells(folder, start, "Table 2")[1] == "The other no more than 3.5 below Same again"
    assert "3 claims: 2 shown, 1 contrary." in (folder / "out" / "table.md").read_text()


def test_finished_runs_are_skipped_and_an_evaluation_follows_its_training(folder: Path) -> None:
    assert run(folder, "--num-seeds", "1") == 0
    assert run(folder, "--num-seeds", "1") == 0
    assert starts(folder) == {"a/seed_0": 1, "b/seed_0": 1, "b_by_night/seed_0": 1}
    assert "too few seeds" in (folder / "out" / "table.md").read_text()
    # Trained anew: what was evaluated of the former weights does not count any more.
    (folder / "out" / "b" / "seed_0" / "model_final.pth").write_text("60.0")
    assert run(folder, "--num-seeds", "1") == 0
    assert starts(folder) == {"a/seed_0": 1, "b/seed_0": 1, "b_by_night/seed_0": 2}
    assert cells(folder, "**Table 9**", "By night")[1] == "59.00"


def test_what_failed_is_not_evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "fail_seed_3").touch()
    assert run(folder) == 1
    assert "b_by_night/seed_3" not in starts(folder)
    said = capsys.readouterr()
    assert "b_by_night, seed 3: nothing to evaluate, since its training has failed" in said.out + said.err
    assert cells(folder, "| table", "Table 1")[4:] == ["4", "0.062", "1.000", "too few seeds"]
    (folder / "fail_seed_3").unlink()
    assert run(folder) == 0
    assert starts(folder)["a/seed_3"] == 2 and starts(folder)["b_by_night/seed_3"] == 1
    assert cells(folder, "| table", "Table 1")[4:] == ["5", "0.031", "1.000", "shown"]


def test_one_table_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--table", "Table 9", "--num-seeds", "2") == 0
    assert set(starts(folder)) == {f"{name}/seed_{seed}" for name in ("b", "b_by_night") for seed in (0, 1)}
    assert cells(folder, "**Table 1**", "First")[-3:-1] == ["not run", "-"]
    assert cells(folder, "| table", "Table 1")[-1] == "not run"
    assert run(folder, "--table", "Table 10") == 1
    assert "there is no table 'Table 10'; the tables are Table 1, Table 2, Table 9" in capsys.readouterr().err


def test_options_reach_all_runs_and_are_part_of_what_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "start.pth").touch()
    options = ("MODEL.WEIGHTS", str(folder / "start.pth"), "SOLVER.GAMMA", "0.5")
    assert run(folder, "--num-seeds", "1", *options) == 0
    assert cells(folder, "**Table 1**", "First")[2] == "1.50"
    assert cells(folder, "**Table 9**", "By night")[1] == "3.50", "of what was trained, not of where it started"
    assert run(folder, "--num-seeds", "1") == 1
    assert "of other options" in capsys.readouterr().err


def test_runs_are_shared_out_among_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert run(folder, "--num-seeds", "2", "--jobs", "2") == 0
    seen = [path.read_text().split()[2] for path in (folder / "out").glob("*/*/starts.txt")]
    assert len(seen) == 6 and {*seen} == {"4", "6"}


def test_weights_that_changed_between_runs_are_told(folder: Path) -> None:
    assert run(folder, "--num-seeds", "2") == 0
    for seed, digest in ((0, "a" * 64), (1, "b" * 64)):
        file = folder / "out" / "a" / f"seed_{seed}" / "results.json"
        provenance = {"sha256": {"clip://tiny-RN": digest}, "git": {"commit": "c" * 40, "changed": False}}
        file.write_text(json.dumps({"mIoU": 1.0, "provenance": provenance}))
    assert run(folder, "--num-seeds", "2", "--report-only") == 0
    text = (folder / "out" / "table.md").read_text()
    assert f"**Not comparable:** clip://tiny-RN was 2 different files, SHA-256 {'a' * 12}, {'b' * 12}" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": {"T": {"rows": {"x": "c"}}}}, "T: x shows 'c', which is no training and no evaluation"),
        ({"tables": {"T": {"rows": {"x": "a"}}}}, "no table shows b, b_by_night"),
        ({"tables": {"T": {"columns": {"m": "mIoU"}}}}, "T: found ['columns'], wanted ['rows']"),
        ({"evaluations": {"e": {"config": "a.yaml", "training": "z"}}}, "e evaluates 'z', which is none of the train"),
        ({"evaluations": {"a": {"config": "a.yaml", "training": "b"}}}, "a is a training and an evaluation"),
        (
            {"tables": {"T 1": {"rows": {"x": "a"}}, "t-1": {"rows": {"x": "b"}}}},
            "would share the names of their plots",
        ),
        ({"configs": {"a": "a.yaml"}}, "wanted ['seeds', 'tables', 'trainings']"),
    ],
)
def test_wrong_plans_are_told_so(folder: Path, change: dict, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(PLAN | change, sort_keys=False))
    assert run(folder) == 1
    assert message in capsys.readouterr().err
    assert starts(folder) == {}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"better": "Third", "than": "First"}, "a claim is about 'Third', wanted is one of its rows: First, Second"),
        ({"better": "First"}, "a claim: found ['better'], wanted ['better', 'than']"),
        ({"better": "First", "than": "First"}, "compares 'First' with itself"),
        ({"better": "First", "than": "Second", "column": "IoU"}, "about 'IoU', wanted is one of: mIoU"),
        ({"better": "First", "than": "Second", "margin": -1}, "the margin of a claim is -1"),
        ({"better": "First", "than": "Second", "margn": 1}, "'margn'"),
    ],
)
def test_wrong_claims_are_told_so(folder: Path, claim: dict, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = PLAN["tables"]["Table 1"] | {"claims": [claim]}
    (folder / "study.yaml").write_text(yaml.safe_dump(PLAN | {"tables": PLAN["tables"] | {"Table 1": table}}))
    assert run(folder) == 1
    assert message in capsys.readouterr().err


def test_a_name_that_stands_twice_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.yaml").write_text("configs:\n  a: a.yaml\n  a: b.yaml\nseeds: [0]\n")
    assert run(folder) == 1
    assert "a stands there twice" in capsys.readouterr().err


def test_figures_that_no_run_will_give_are_told_before_the_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = PLAN["tables"] | {"Table 9": {"rows": {"By night": "b_by_night"}}}
    (folder / "study.yaml").write_text(yaml.safe_dump(PLAN | {"tables": tables}))
    assert run(folder) == 1
    assert "will have no figure 'mIoU'" in (said := capsys.readouterr().err) and "night/mIoU, snow/mIoU" in said
    assert starts(folder) == {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [("gone.pth", "gone.pth, which does not exist"), ("clip://tiny-CNN", "'clip://tiny-CNN' is unknown")],
)
def test_weights_that_cannot_be_had_are_told_before_the_first_run(
    folder: Path, weights: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b.yaml").write_text((folder / "b.yaml").read_text() + f"MODEL:\n  WEIGHTS: {weights}\n")
    assert run(folder) == 1
    assert message in capsys.readouterr().err
    assert starts(folder) == {}


def test_runs_go_seed_by_seed_with_evaluations_behind_trainings(folder: Path) -> None:
    order = [(run.seed, run.label) for run in read_study(folder / "study.yaml", folder / "out").metrics]
    assert order == [(seed, label) for seed in range(5) for label in ("a", "b", "b_by_night")]
