"""The report on a device: its rows, its files, and its end in time, on the CPU in small."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from icpc_d2.analysis import device_use
from icpc_d2.modeling.class_names import get_class_names
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.tools.gpu_report import command, measurements
from icpc_d2.tools.gpu_report.command import Deadline, main
from icpc_d2.tools.gpu_report.rows import BACKBONES, FOLDERS, METHODS, TASKS, ReportRow, list_rows, read_row_config

TRIAL = ("--device", "cpu", "--tiny")
ROWS = [
    *(ReportRow("training", "R50", 150, "bfloat16", method) for method in ("ICPC", "CLIP + Semantic FPN")),
    ReportRow("forward", "ViTB", 847, "bfloat16", "DenseCLIP"),
    ReportRow("evaluation", "R50", 150, "float32", "ICPC"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SECONDS", 0.0), ("FEWEST", 1), ("WARM_UP", 0)):
        monkeypatch.setattr(device_use, name, value)
    monkeypatch.setattr(measurements, "MAPPER_SECONDS", 0.0)
    monkeypatch.setattr(measurements, "MAPPER_IMAGES", 1)
    monkeypatch.setattr(command, "list_rows", lambda: ROWS)


def run(out: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main(["--out", str(out), *TRIAL, *arguments])
    return code, json.loads((out / "report.json").read_text()), (out / "report.md").read_text()


def test_every_row_is_there_once_the_most_wanted_first() -> None:
    rows = list_rows()
    settings = [(task, precision) for task, precisions in TASKS.items() for precision in precisions]
    assert len(rows) == len(set(rows)) == len(settings) * len(BACKBONES) * len(FOLDERS) * len(METHODS)
    assert rows[: len(METHODS)] == [ReportRow("training", "R50", 150, "bfloat16", method) for method in METHODS]


@pytest.mark.parametrize(("backbone", "classes"), [*itertools.product(BACKBONES, FOLDERS)])
def test_rows_are_of_the_configs_of_the_paper(backbone: str, classes: int) -> None:
    for row in (ReportRow("training", backbone, classes, "bfloat16", method) for method in METHODS):
        cfg = read_row_config(row, "cpu", is_tiny=False)
        assert cfg.SOLVER.AMP.ENABLED and cfg.SOLVER.AMP.PRECISION == "bfloat16"
        assert (cfg.MODEL.META_ARCHITECTURE == "SemanticFPN") == row.method.startswith("CLIP")
        assert bool(cfg.MODEL.FAST) is ("paper" not in row.method)
        assert len(get_class_names(cfg)) == classes
        assert cfg.INPUT.CROP.SIZE[0] == (640 if backbone == "ViTB" else 512)


def test_report(tmp_path: Path) -> None:
    code, report, page = run(tmp_path, "MODEL.CHANNELS_LAST", "True")
    assert code == 0
    assert [row["status"] for row in report["rows"]] == ["measured"] * len(ROWS)
    assert report["not_run"] == [] and "Not run" not in page
    training, forward, evaluation = report["rows"][0], report["rows"][-2], report["rows"][-1]
    assert (training["batch"], training["height"], training["classes"]) == (4, 64, 12)
    assert training["images_per_second"] == pytest.approx(4 / training["seconds"])
    assert training["workers"] >= 1 and "workers" not in forward
    assert (forward["batch"], forward["height"], forward["classes"]) == (1, 128, 30)
    assert (evaluation["height"], evaluation["width"]) == (64, 85)
    assert all(row["kernels"] > 100 and 0 < row["busy"] <= 1 for row in report["rows"])
    assert set(report["mapper_images_per_second"]) == set(BACKBONES)
    assert report["environment"]["PyTorch"] == torch.__version__
    for text in ("## Training", "## Evaluation", "MODEL.CHANNELS_LAST True", "4 x 64 x 64", "CLIP + Semantic FPN"):
        assert text in page
    table = [[cell.strip() for cell in line.split("|")] for line in page.split("## Training")[1].splitlines()]
    ratios = {cells[4]: cells[-3] for cells in table if len(cells) > 10}
    assert ratios["ICPC"] == "1.00", "its own time against itself"
    assert ratios["CLIP + Semantic FPN"] == f"{training['seconds'] / report['rows'][1]['seconds']:.2f}"


def test_precisions_are_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def see(cfg: Any, is_half: bool) -> measurements.Computation:
        allowed = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        seen.append((is_half, allowed))
        return measurements.Computation(lambda: None, 1, 1, 1)

    monkeypatch.setitem(measurements.COMPUTATIONS, "forward", see)
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    for precision in ("bfloat16", "TF32", "float32"):
        measurements.measure_row(ReportRow("forward", "R50", 150, precision, "ICPC"), "cpu", True)
    assert seen == [(True, (True, True)), (False, (True, True)), (False, (False, False))]
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def test_a_compiled_prediction_is_of_the_images_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(Segmentor, "compile_prediction", lambda self, size, **options: sizes.append(size))
    row = ReportRow("forward", "R50", 150, "TF32", "ICPC")
    figures = measurements.measure_row(row, "cpu", True, ["MODEL.COMPILE", ["predict"]])
    assert sizes == [figures["height"]] == [128]


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "out of memory", 0),
        (RuntimeError("a | b"), "failed: RuntimeError: a | b", 1),
    ],
)
def test_a_row_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, expected: int
) -> None:
    def fail(cfg: Any, is_half: bool) -> None:
        raise error

    monkeypatch.setattr(command, "list_rows", lambda: [ROWS[-1], ROWS[-2]])
    monkeypatch.setitem(measurements.COMPUTATIONS, "evaluation", fail)
    code, report, page = run(tmp_path)
    assert code == expected
    assert [row["status"] for row in report["rows"]] == [status, "measured"]
    assert status.replace("|", "/") in page


def test_what_there_is_no_time_for_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "measure_row", lambda *_: {"status": "out of memory"})
    answers = iter([True, True, False])
    monkeypatch.setattr(Deadline, "leaves_time", lambda _: next(answers))
    code, report, page = run(tmp_path)
    assert code == 0
    assert len(report["rows"]) == 2 and len(report["not_run"]) == len(ROWS) - 2
    assert f"Time was up before:\n\n- {ROWS[2]}\n" in page


def test_a_row_begins_only_if_the_longest_so_far_would_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(command.time, "monotonic", lambda: now)
    deadline = Deadline(minutes=1)
    answers = []
    for now in (0.0, 25.0, 30.0, 36.0):  # noqa: B007
        answers.append(deadline.leaves_time())
    assert answers == [True, True, True, False], "25 seconds were the longest, 24 are left"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--minutes", "0"), "--minutes is 0"), (("--device", "cuda"), "torch finds no GPU")],
)
def test_bad_arguments_are_named(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--device", "cpu", *arguments])
    assert message in capsys.readouterr().err


def test_unknown_keys_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--out", str(tmp_path), *TRIAL, "MODEL.NOTHING", "1"]) == 2
    assert "there is no config key MODEL.NOTHING" in capsys.readouterr().err
