"""The benchmark finds both forms equal, says so, and notices when they are not."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from icpc_d2.modeling import ICPC, clip
from icpc_d2.tools.benchmark import cases, command, folding
from icpc_d2.tools.benchmark.cases import build_case
from icpc_d2.tools.benchmark.command import differences, main, parse_args
from tests.support.configs import CONFIGS
from tests.support.documents import read
from tests.support.programs import run_forked

TINY = str(CONFIGS / "quickstart/icpc_tiny.yaml")
SMALL = ("--config-file", TINY, "--size", "64", "--batch", "2", "--repeats", "1")
# Arguments in the tables of docs/efficiency.md.
_ROW = re.compile(r"^\| `((?:text|alignment|loss|inference|train)\b[^`|]*)`", re.MULTILINE)
ROWS = sorted(set(_ROW.findall(read("docs/efficiency.md"))))
KEYS = {"naive_s", "ours_s", "speedup", "naive_peak_mb", "ours_peak_mb", "max_abs_diff", "max_rel_grad_diff"}


def run(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, float | None]]:
    out = tmp_path / "figures.json"
    code = main([arguments[0], *SMALL, *arguments[1:], "--json", str(out)])
    return code, json.loads(out.read_text())


@pytest.mark.parametrize("case", ["text", "alignment", "loss", "train"])
def test_both_forms_agree_with_their_gradients(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, figures = run(tmp_path, case, "--no-memory", "--classes", "12")
    assert code == 0, capsys.readouterr().err
    assert set(figures) == KEYS
    assert figures["speedup"] == pytest.approx(figures["naive_s"] / figures["ours_s"])
    assert 0 <= figures["max_rel_grad_diff"] < 1e-2
    assert "K = 12" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["text", "alignment", "loss", "inference"])
def test_inference_has_no_gradients(case: str, tmp_path: Path) -> None:
    code, figures = run(tmp_path, case, "--mode", "inference", "--no-memory")
    assert code == 0
    assert figures["max_rel_grad_diff"] is None and figures["max_abs_diff"] is not None


@pytest.mark.parametrize("arguments", ROWS)
def test_the_rows_of_the_document(arguments: str) -> None:
    """Each of them, in small."""
    assert main([*arguments.split(), *SMALL, "--classes", "12", "--no-memory"]) == 0


@pytest.mark.parametrize("case", ["inference", "train"])
def test_another_method_gives_other_values(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, figures = run(tmp_path, case, "--against", "denseclip", "--no-memory", "MODEL.ALIGNMENT.LOSS_SCALES", "[]")
    assert code == 0
    assert figures["max_abs_diff"] is figures["max_rel_grad_diff"] is None
    assert "denseclip" in capsys.readouterr().out


def test_a_step_is_compared_with_and_without_the_options(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, figures = run(tmp_path, "step", "--classes", "3", "--no-memory", "SOLVER.ACCUMULATE", "4")
    assert code == 0
    assert figures["speedup"] == pytest.approx(figures["naive_s"] / figures["ours_s"])
    assert figures["max_abs_diff"] is figures["max_rel_grad_diff"] is None
    report = capsys.readouterr().out
    assert "K = 3, B = 2, size 64, without and with SOLVER.ACCUMULATE 4" in report
    assert re.search(r"^ +without +with +ratio$", report, re.MULTILINE)


def test_the_options_of_a_step_are_in_one_of_the_two_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    forward = ICPC.forward
    monkeypatch.setattr(ICPC, "forward", lambda self, *inputs: passes.append(len(inputs[0])) or forward(self, *inputs))
    case = build_case(parse_args(["step", *SMALL, "--classes", "3", "SOLVER.ACCUMULATE", "4"]))
    case.naive()
    assert passes == [2]
    case.ours()
    assert passes == [2] * 5


def test_a_difference_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    plain = cases.pixel_cross_entropy
    monkeypatch.setattr(cases, "pixel_cross_entropy", lambda *inputs: 1.01 * plain(*inputs))
    code, _ = run(tmp_path, "loss", "--no-memory")
    assert code == 1
    assert "max_abs_diff" in (message := capsys.readouterr().err) and "max_rel_grad_diff" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "at_least"),
    [
        (["alignment", "--classes", "847", "--batch", "4"], 2.2),
        (["text", "--classes", "847", "--batch", "2"], 5.0),
        (["text", "--classes", "150", "--batch", "4"], 5.0),
    ],
)
def test_a_training_step_costs_a_fraction(arguments: list[str], at_least: float, capsys: pytest.CaptureFixture) -> None:
    assert main([*arguments, "--count"]) == 0
    assert float(capsys.readouterr().out.split()[-1]) >= at_least


@pytest.mark.parametrize("case", ["text", "alignment"])
def test_backward_passes_are_counted(case: str, capsys: pytest.CaptureFixture) -> None:
    counts = {}
    for mode in ("inference", "training"):
        main([case, *SMALL, "--count", "--mode", mode])
        counts[mode] = float(capsys.readouterr().out.splitlines()[-1].split()[0])
    assert 1.9 * counts["inference"] <= counts["training"] <= 3.1 * counts["inference"]


def test_memory_is_measured_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = []
    monkeypatch.setattr(
        command, "subprocess", SimpleNamespace(run=lambda words, **_: processes.append(words) or run_forked(words))
    )
    _, figures = run(tmp_path, "loss", "--classes", "400", "--size", "256")
    # The plain form holds the logits of all pixels (200 MiB), their log-softmax and gradients.
    assert figures["naive_peak_mb"] > 390
    assert 0 < figures["ours_peak_mb"] < figures["naive_peak_mb"]
    assert [words[:3] + words[-2:] for words in processes] == [
        [sys.executable, "-m", "icpc_d2.tools.benchmark", "--peak-of", form] for form in ("naive", "ours")
    ]


def test_nan_is_a_difference() -> None:
    figures = {"max_abs_diff": float("nan"), "max_rel_grad_diff": 0.0}
    assert len(differences("text", figures)) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["loss", "--against", "denseclip"], "whole models"),
        (["text", "--size", "100"], "multiple of 32"),
        (["loss", "--count"], "for text and alignment"),
        (["step"], "KEY VALUE"),
        (["step", "--size", "65", "SOLVER.ACCUMULATE", "2"], "multiple of 32"),
        (["nothing"], "invalid choice"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_kernels_of_the_paper_s_model_stay_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """As deep as CLIP's RN50 but narrow, which changes no count; of small images, which take one strip."""
    architecture = clip.get_architecture("RN50-quickgelu")
    architecture["embed_dim"] = 64
    architecture["vision_cfg"] |= {"width": 8, "image_size": 64}
    architecture["text_cfg"] |= {"width": 64, "heads": 2}
    (tmp_path / "narrow.json").write_text(json.dumps(architecture))
    monkeypatch.setattr(clip, "ARCHITECTURES", tmp_path)
    out = tmp_path / "kernels.json"
    assert main(["kernels", "--size", "64", "--json", str(out), "MODEL.CLIP.ARCH", "narrow"]) == 0
    counts = json.loads(out.read_text())
    bounds = {
        "forward": 1000,
        "backward": 1100,
        "inference": 600,
        "text_forward": 230,
        "text_backward": 240,
        "losses_forward": 150,
        "read_backs": 4,
    }
    assert {name: counts[name] for name, most in bounds.items() if not 0 < counts[name] <= most} == {}
    # Whole prompts take some 14 operators for each of 12 layers; fewer cannot be right.
    assert counts["text_forward"] > 150 and counts["forward"] > sum(
        counts[f"{part}_forward"] for part in ("backbone", "text", "context_decoder", "head")
    )
    report = capsys.readouterr().out
    assert "K = 150, B = 4, size 64, as on cuda" in report
    assert f"read-backs of a step: {counts['read_backs']}" in report


def test_kernels_of_another_model_are_those_of_the_whole(tmp_path: Path) -> None:
    out = tmp_path / "kernels.json"
    config = str(CONFIGS / "ade20k/semantic_fpn_R50.yaml")
    assert main(["kernels", "--config-file", config, "--size", "64", "--batch", "2", "--json", str(out)]) == 0
    counts = json.loads(out.read_text())
    assert set(counts) == {"forward", "backward", "inference", "read_backs"}
    # ResNet-50 alone has 53 convolutions and as many norms.
    assert counts["inference"] > 106 and counts["read_backs"] <= 4


def test_the_forms_of_the_laterals_are_timed_beside_the_chosen_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(folding, "TASKS", ((1, False),))
    times = iter([3.0, 1.0, 2.0] * 3)
    monkeypatch.setattr(folding, "_time", lambda compute, args: compute() or next(times))
    out = tmp_path / "times.json"
    assert main(["folding", "--size", "64", "--classes", "4", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert [(row["level"], row["with_res3"]) for row in rows] == [("res3", False), ("res2", False), ("res2", True)]
    for row in rows:
        assert row["milliseconds"] == {"plain": 3.0, "whole": 1.0, "last": 2.0}
        assert row["regret"] == row["milliseconds"][row["chosen"]]
    # As few classes as these are not folded on a CPU.
    assert rows[0]["chosen"] == "plain"
    assert "worst 3.00" in capsys.readouterr().out
