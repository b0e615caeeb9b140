"""README.md and the pages of docs/: each command runs, on small pictures and with small models."""

import json
import re
import shutil
import subprocess
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from icpc_d2.data.datasets import DATASETS as ROWS
from icpc_d2.tools.flops import command as flops
from icpc_d2.tools.predict.video import Frame, write_video
from icpc_d2.tools.study import schedule
from tests.support.datasets import random_image, save, save_folder_dataset, save_prepared
from tests.support.documents import (
    ROOT,
    SMALL,
    commands_of,
    documents,
    forms_of,
    is_form,
    read,
    run,
    run_small,
    set_up_of,
    settings,
    snippet,
)
from tests.support.programs import Forked
from tests.support.results import assert_mean_of_classes, read_results

QUICKSTART = "python train_net.py --config-file configs/quickstart/icpc_tiny.yaml OUTPUT_DIR output/quickstart"


def test_readme(
    clone: Path, few_scenes: None, ade20k: Path, camvid: None, forgetful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ade20k, clone / "datasets/ADEChallengeData2016.zip")
    save_folder_dataset(clone / "datasets/mine")
    save(clone / "photos/a.jpg", random_image())
    with write_video(clone / "film.mp4", Fraction(10)) as write:
        write(Frame(random_image(), 0, Fraction(1, 10)))
    (clone / "train_mine.py").write_text(snippet(read("README.md"), "own_data"))
    run(QUICKSTART, monkeypatch, SMALL)
    for command in commands_of("README.md"):
        command = command.split("  #")[0]
        if command.startswith("icpc app "):
            continue  # needs Gradio: tests/tools/test_app.py runs it
        if command.startswith("icpc study "):
            assert command in commands_of("docs/studies/camvid.md")  # which is run below
        elif "configs/ade20k" in command:
            run_small(command, monkeypatch)
        else:
            run(command, monkeypatch, SMALL if "train_net.py" in command else ())

    for name, num_classes in (("ade20k/icpc_R50", 150), ("camvid/icpc_tiny", 11), ("mine", 3)):
        assert_mean_of_classes(read_results(clone / "output" / name), num_classes)
    assert {"IoU-sky", "IoU-road", "IoU-tree"} <= read_results(clone / "output/mine").keys()
    assert {path.name for path in (clone / "output/seen").iterdir()} >= {"a_overlay.png", "film_overlay.mp4"}
    assert (clone / "regions.png").is_file()
    assert not set(commands_of("configs/README.md")) - set(commands_of("README.md"))
    assert not set(commands_of("docs/logs/camvid_icpc_tiny.md")) - set(commands_of("README.md"))


@pytest.mark.slow
def test_study_and_figures(clone: Path, few_scenes: None, camvid: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The study's own configs, of which those that the figures need; one seed, and two iterations.
    (clone / "configs").unlink()
    shutil.copytree(ROOT / "configs", clone / "configs")
    study = clone / "configs/camvid/study/study.yaml"
    plan = yaml.safe_load(study.read_text())
    labels = ("DenseCLIP", "I.C.", "I.C. + C.L. + M.S.")
    plan |= {"configs": {label: plan["configs"][label] for label in labels}, "seeds": [0], "options": SMALL}
    study.write_text(yaml.safe_dump(plan, sort_keys=False))
    # tests/tools/test_study.py starts the script as it is.
    forked = SimpleNamespace(Popen=Forked, STDOUT=subprocess.STDOUT)
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "subprocess", forked)
        for command in commands_of("docs/studies/camvid.md"):
            run(command, monkeypatch)
    results = json.loads((clone / "output/camvid/study/results.json").read_text())["results"]
    assert set(results) == set(labels)

    run(QUICKSTART, monkeypatch, SMALL)
    names = set()
    for command in commands_of("docs/figures.md"):
        run(command, monkeypatch)
        names.add(command.split()[-1])
        assert (clone / command.split()[-1]).stat().st_size > 1000
    assert names == {
        "overlay.png",
        "regions.png",
        "tsne.png",
        "curves.svg",
        "confusion.svg",
        "prompts.svg",
        "scenes.png",
    }


def test_evaluation(clone: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"voc_2012_20_sem_seg_val", "pascal_context_59_sem_seg_val", "cityscapes_sem_seg_val"}
    own = {"coco_2017_train_stuff_10k_sem_seg", "coco_2017_test_stuff_10k_sem_seg"}
    save_prepared(clone / "datasets", own | other | {"isaid_tiles_sem_seg_val"})
    save_folder_dataset(clone / "mine")
    (clone / "mine/classes.txt").write_text("boat\nautomobile\ngrass\n")
    (clone / "mine/shared.txt").write_text("automobile | car\nboat\ngrass\n")
    *commands, tiles = commands_of("docs/evaluation.md")
    for command in commands:
        run_small(command, monkeypatch)
    assert tiles == "icpc prepare " + next(row for row in ROWS if row.name.startswith("isaid_tiles")).prepare

    assert_mean_of_classes(read_results(clone / "output/coco_stuff_10k/icpc_R50"), 171)
    crossed = read_results(clone / "output/cross_domain/icpc_R50")
    other |= {"isaid_tiles_sem_seg_val"}
    assert set(crossed) == {f"{name}{task}" for name in other for task in ("", "/sem_seg_shared")}
    shared = read_results(clone / "output/shared")
    assert {name for name in shared["sem_seg_shared"] if name.startswith("IoU-")} <= {
        "IoU-boat", "IoU-automobile", "IoU-grass"
    }  # fmt: skip


@pytest.mark.slow
def test_efficiency(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Full-size models: the counts are those that the page shows."""
    text = read("docs/efficiency.md")
    image, many, reference, sweep, gpu_report = commands_of("docs/efficiency.md")
    for command in (image, many):
        run(command, monkeypatch)
        table = text.split(f"```bash\n{command}\n```\n\n```\n")[1].split("```")[0]
        assert table in capsys.readouterr().out
    run(reference, monkeypatch)
    without_text = re.search(r"without text encoder +([\d.]+)", capsys.readouterr().out)[1]
    assert f"| `icpc`, without text | {float(without_text):.1f} / 284.2 |" in text

    (clone / "docs/figures").mkdir(parents=True)
    two_points = partial(flops.plot_cost_curves, num_classes=(19, 150), sizes=(256, 512))
    monkeypatch.setattr(flops, "plot_cost_curves", two_points)
    run(sweep, monkeypatch, settings(MODEL__CLIP__ARCH="tiny-RN", MODEL__CLIP__IMAGE_SIZE=0))
    assert "classes K" in (clone / "docs/figures/cost.svg").read_text()

    run(gpu_report, monkeypatch, ["--device", "cpu", "--tiny", "--minutes", "0.01"])
    assert "bfloat16: ICPC" in (clone / "output/gpu_report/report.md").read_text()


def test_set_up_commands_are_those_of_make_and_ci() -> None:
    """They need a network and a fresh machine: continuous integration runs them, by make."""
    makefile = (ROOT / "Makefile").read_text()
    automatic = (ROOT / ".ci/run").read_text() + (ROOT / ".github/workflows/ci.yml").read_text()
    extras = re.findall(r'^ +"(\w+)": \[?[*A-Z"]', (ROOT / "setup.py").read_text(), re.MULTILINE)
    for command in (command for document in documents() for command in set_up_of(document)):
        words = command.split("#")[0].split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), command
        elif "pip" in words:
            assert words[:5] == ["python", "-m", "pip", "install", "--editable"], command
            extra = re.fullmatch(r"\.|'\.\[(\w+)\]'", words[5])[1]
            assert extra is None or extra in extras, command
    for target in ("lint", "test", "quickstart", "test-page"):
        assert f"make {target}" in automatic
    assert "install --editable '.[dev]'" in makefile
    assert "icpc_d2/install_detectron2.py --from $(DETECTRON2)" in makefile


def test_every_document_with_commands_is_run() -> None:
    """Each of them is read by a test, by `commands_of`; what is not marked as bash is no command but a form."""
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    run_by_tests = set(re.findall(r'commands_of\("([\w./]+)"\)', tests))
    assert {document for document in documents() if commands_of(document)} == run_by_tests
    assert not [form for document in documents() for form in forms_of(document) if not is_form(form)]
