"""docs/predict.md, gallery.md and tutorials: each command and each piece of Python runs, on small pictures."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from icpc_d2.modeling.text.prompts import PROMPTS
from icpc_d2.tools.predict.video import Frame, write_video
from icpc_d2.tools.prepare.ade20k import ADE20K
from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.datasets import random_image, save, save_folder_dataset
from tests.support.documents import SMALL, TINY, commands_of, documents, read, run, run_small, snippet


def figures(folder: Path) -> dict[str, float]:
    """What an evaluation gave."""
    return {
        name: value
        for name, value in json.loads((folder / "results.json").read_text()).items()
        if isinstance(value, float)
    }


def test_first_model_and_gallery(clone: Path, few_scenes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read("docs/tutorials/first_model.md")
    save(clone / "picture.jpg", random_image())
    for command in commands_of("docs/tutorials/first_model.md"):
        run(command, monkeypatch, SMALL if "train_net.py" in command else ())

    output = clone / "output" / "quickstart"
    for name in ("results.json", "model_final.pth", "model_best.pth", "config.yaml", "log.txt", "metrics.json"):
        assert (output / name).is_file()
    assert figures(clone / "output/quickstart_best") == figures(output)
    assert {path.suffix for path in (clone / "output/seen").iterdir()} == {".png", ".json"}
    assert (clone / "output/words/picture_overlay.png").is_file()

    for command in commands_of("docs/gallery.md"):
        run(command, monkeypatch)
    assert {path.name for path in (clone / "output/gallery").iterdir()} == {
        f"000{index}_{kind}.png" for index in range(5) for kind in ("overlay", "side-by-side")
    }

    names: dict = {}
    exec(snippet(text, "predictor"), names)
    assert names["prediction"].labels.shape == (64, 96)
    assert (clone / "overlay.png").is_file()


def test_predict(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read("docs/predict.md")
    write_checkpoint(clone / "output/quickstart", tiny_cfg())
    for name in ("picture.jpg", "photos/a.jpg", "more/deep/down/b.png"):
        save(clone / name, random_image())
    with write_video(clone / "film.mp4", Fraction(10)) as write:
        write(Frame(random_image(), 0, Fraction(1, 10)))
    for command in commands_of("docs/predict.md"):
        run(command, monkeypatch)
    kinds = {"overlay.png", "color.png", "label.png", "side-by-side.png"}
    found = {path.name for path in (clone / "output/seen").iterdir()}
    assert found == {f"picture_{kind}" for kind in kinds} | {
        "picture.json", "a_overlay.png", "b_overlay.png", "film_overlay.mp4", "film_legend.png"
    }  # fmt: skip
    assert (clone / "output/words/a_overlay.png").is_file()

    names: dict = {}
    exec(snippet(text, "predict"), names)
    assert 0 <= names["share"] <= 1
    assert names["words"].predict_from == "alignment"


def test_ade20k(clone: Path, ade20k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(clone / "photos" / "a.jpg", random_image())
    for command in commands_of("docs/tutorials/ade20k.md"):
        if command.startswith("mkdir"):
            assert (clone / command.split()[-1]).is_dir()
        elif command.startswith("curl"):
            *_, target, page = command.split()
            assert page == ADE20K.page
            shutil.copy(ade20k, clone / target)
        elif "train_net.py" in command:
            run_small(command, monkeypatch)
        else:
            run(command, monkeypatch, TINY if "flops" in command else ())

    output = clone / "output"
    results = {path.parent.name: figures(path.parent) for path in output.glob("ade20k/*/results.json")}
    assert set(results) == {"icpc_R50", "single_scale", "multi_scale", "alignment"}
    assert results["single_scale"] == results["icpc_R50"]
    for name in ("overlay.png", "regions.png", "confusion.svg", "curves.svg", "seen/a.json", "words/a_overlay.png"):
        assert (output / name).is_file(), name
    assert len(list((output / "checked").glob("*.png"))) == 2


def test_a_project_of_ones_own(clone: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read("docs/tutorials/detectron2_project.md")
    save_folder_dataset(clone / "mine")
    for name in ("train_mine.py", "mine.yaml"):
        (clone / name).write_text(snippet(text, name))
    for command in commands_of("docs/tutorials/detectron2_project.md"):
        run(command, monkeypatch, SMALL)
    results = json.loads((clone / "output/mine/results.json").read_text())
    assert {"mIoU", "IoU-sky", "IoU-road", "IoU-tree"} <= results.keys()


def test_a_loop_of_ones_own() -> None:
    text = read("docs/tutorials/detectron2_project.md")
    names: dict = {}
    exec(snippet(text, "loop"), names)
    assert names["labels"].shape == (480, 640)
    assert all(loss.isfinite() for loss in names["losses"].values())


def test_parts_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = read("docs/tutorials/detectron2_project.md")
    monkeypatch.delitem(PROMPTS, "doubled", raising=False)
    names: dict = {}
    exec(snippet(text, "prompt"), names)
    prompt = PROMPTS.pop("doubled")(2, 8, 4, 1)
    assert prompt(None).shared.equal(2 * prompt.vectors)


@pytest.mark.slow
def test_a_backbone_under_another_head() -> None:
    names: dict = {}
    exec(snippet(read("docs/tutorials/detectron2_project.md"), "backbone"), names)
    assert type(names["model"]).__name__ == "SemanticSegmentor"


def test_all_python_is_tested() -> None:
    for document in documents():
        lines = read(document).splitlines()
        starts = [index for index, line in enumerate(lines) if line == "```python"]
        assert all(lines[index - 1].startswith("<!-- tested: ") for index in starts), document
