"""``icpc export``: its mistakes, and its files in the hands of ``icpc predict`` and ``icpc app``."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icpc_d2.tools.app.command import load
from icpc_d2.tools.app.uploads import Limits
from icpc_d2.tools.app.workbench import Workbench, region_map
from icpc_d2.tools.export import command as export
from icpc_d2.tools.predict import command as predict
from tests.support.datasets import random_image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.onnx", "--format", "torch"], "--out is a.onnx, but --format torch is written to names in .pt2"),
        (["--out", "a.onnx", "--size", "0", "8"], "--size is 0 8; wanted are two positive numbers"),
        (["--out", "a.onnx", "--size", "8", "8", "--dynamic"], "not allowed with argument"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        export.main(["--weights", "w.pth", *arguments])
    assert message in capsys.readouterr().err


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--weights", str(tmp_path / "w.pth"), "--out", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_predict_takes_the_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(random_image()).save(tmp_path / "picture.png")
    labels = []
    for name, weights in (("a", exported), ("b", exported.parents[1] / "model_final.pth")):
        words = ["--weights", str(weights), "--input", str(tmp_path / "picture.png"), "--output", str(tmp_path / name)]
        assert predict.main([*words, "--kind", "label,overlay,json", "--predict-from", "alignment"]) == 0
        labels.append(np.asarray(Image.open(tmp_path / name / "picture_label.png")))
    assert (labels[0] == labels[1]).mean() > 0.999
    for more, message in ((["--tta"], "sees each image once"), (["--classes", "sky, sea"], "its own classes alone")):
        assert predict.main([*words[2:], "--weights", str(exported), *more]) == 2
        assert message in capsys.readouterr().err


def test_the_page_takes_a_file_with_the_alignment(exported: Path, tmp_path: Path) -> None:
    workbench = Workbench(load(str(exported), "cpu"), Limits())
    Image.fromarray(random_image()).save(tmp_path / "upload.png")
    segmented = workbench.segment(str(tmp_path / "upload.png"), "upload.png")
    comparison = workbench.compare(segmented)
    assert comparison.alignment.predict_from == "alignment"
    first, second = (region_map(segmented.prediction, name) for name in segmented.prediction.classes[:2])
    assert first.shape == segmented.upload.image.shape and (first != second).any()
