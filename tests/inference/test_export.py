"""Exported files: they give what the model gives, say what they are, and one that is wrong is not left behind."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from icpc_d2.inference.export import export, formats
from icpc_d2.inference.export.check import ExportError, FileComparison, check, compare_with_model, draw_pictures
from icpc_d2.inference.export.export import ExportOptions, choose_size, export_model, trace
from icpc_d2.inference.export.formats import run_onnx
from icpc_d2.inference.export.graph import FoldedText, WindowGraph
from icpc_d2.inference.predictor import Predictor, load_model
from tests.support.checkpoints import CLASSES, tiny_cfg, write_checkpoint
from tests.support.models import TINY_VIT

SIZES = [(64, 96), (20, 70), (128, 128), (100, 61), (96, 160)]
BASELINE = (
    *("MODEL.META_ARCHITECTURE", "SemanticFPN", "MODEL.CLIP.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
    *("MODEL.BACKBONE.NAME", "build_fpn_backbone", "MODEL.FPN.BOTTOM_UP", "build_clip_resnet_backbone"),
)
WORDS = [("a red car", "automobile"), ("grass",), ("sky",)]
VIT = (*TINY_VIT, "MODEL.CLIP.VIT_NORM", "BN")


@pytest.fixture
def change(tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint of the quickstart's model, changed by config options."""
    return lambda *options: write_checkpoint(tmp_path / "changed", tiny_cfg("INPUT.MIN_SIZE_TEST", 0, *options))


def checkpoint_of(path: Path) -> Path:
    return path.parents[1] / "model_final.pth"


def read_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}


def test_one_file_for_all_sizes(exported: Path) -> None:
    weights = checkpoint_of(exported)
    graph = WindowGraph(load_model(weights, "cpu")[1], alignment=True)
    check(compare_with_model(run_onnx(exported), graph, SIZES), "float32")
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]
    found = read_metadata(exported)
    assert json.loads(found["icpc.classes"]) == CLASSES
    assert json.loads(found["icpc.outputs"]) == ["logits", "alignment"]
    assert json.loads(found["icpc.preprocessing"])["short_side"] == 64
    assert found["icpc.checkpoint_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    # CLIP's vocabulary is most of the checkpoint.
    assert exported.stat().st_size < weights.stat().st_size / 2


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("MODEL.PROMPT.NAME", "icpc", "INPUT.FORMAT", "BGR"), None),
        (("MODEL.PROMPT.NAME", "cocoop", "MODEL.PREDICT_FROM", "alignment"), None),
        (("MODEL.PROMPT.NAME", "instance", *VIT), WORDS),
        (("MODEL.PROMPT.NAME", "coop", "MODEL.ALIGNMENT.MULTI_SCALE", False, "MODEL.ALIGNMENT.LOSS_SCALES", []), WORDS),
        (("MODEL.PROMPT.NAME", "template", *VIT), None),
        (BASELINE, None),
    ],
)
def test_the_graph_is_the_model(change: Callable, options: tuple, words: list | None, fast: bool) -> None:
    weights = change(*options, "MODEL.FAST", fast)
    cfg, model = load_model(weights, "cpu")
    graph = WindowGraph(model, cfg.INPUT.FORMAT, words)
    labels = WindowGraph(model, cfg.INPUT.FORMAT, words, labels=True)
    for picture in draw_pictures([(50, 75), (64, 96)]):
        wanted = Predictor(weights, "cpu")(picture[0].transpose(1, 2, 0), words)
        with torch.no_grad():
            (found,) = graph(torch.from_numpy(picture))
            torch.testing.assert_close(found[0], wanted.scores.logits(), rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(labels(torch.from_numpy(picture))[0], found.argmax(dim=1))
        assert found.shape[1] == len(words or CLASSES)
    if words is None and options != BASELINE:
        is_folded = isinstance(graph.model.text_encoder, FoldedText)
        assert is_folded == ("template" in options)


def test_half_precision_and_weights_beside_the_file(
    change: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "EXTERNAL_BYTES", 2**16)
    weights = change(*VIT, "MODEL.PROMPT.NAME", "coop", "MODEL.CONTEXT_DECODER.NUM_LAYERS", 1)
    path = tmp_path / "out" / "words.onnx"
    comparisons = export_model(weights, path, ExportOptions(size=(50, 80), class_names=WORDS, half=True))
    assert comparisons[0].difference > 1e-4, "that would not be half precision"
    assert {file.name for file in path.parent.iterdir()} == {"words.onnx", "words.onnx.data"}
    assert path.stat().st_size < (path.parent / "words.onnx.data").stat().st_size
    assert json.loads(read_metadata(path)["icpc.classes"]) == [names[0] for names in WORDS]
    (logits,) = run_onnx(path)(np.zeros((1, 3, 50, 80), np.uint8))
    assert (logits.shape, logits.dtype) == ((1, 3, 50, 80), np.float32)
    assert not [
        x.name
        for x in onnx.load(path, load_external_data=False).graph.initializer
        if "text_encoder.transformer" in x.name
    ]


def test_torch_export_of_a_model_without_text(change: Callable, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    check(export_model(change(*BASELINE), path, ExportOptions(labels=True)), "float32")
    extra = {formats.PT2_METADATA: ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(json.loads(extra[formats.PT2_METADATA])["classes"]) == CLASSES


def test_a_wrong_operator_leaves_no_file(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_wrongly(program: Any, path: Path, *rest: Any) -> list[Path]:
        """Put a subtraction in the place of the model's last addition."""
        model = onnx.load(exported)
        [node for node in model.graph.node if node.op_type == "Add"][-1].op_type = "Sub"
        onnx.save(model, path)
        return [path]

    monkeypatch.setattr(export, "trace", lambda *given: None)
    monkeypatch.setitem(export.FORMATS, ".onnx", (write_wrongly, run_onnx))
    (tmp_path / "model.onnx").write_text("an earlier one")
    with pytest.raises(ExportError, match="does not give what the model gives, and was not kept. 128 x 224: logits"):
        export_model(checkpoint_of(exported), tmp_path / "model.onnx", ExportOptions(alignment=True))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an earlier one"]


def test_a_config_in_place_of_a_checkpoint_and_a_file_in_place_of_a_larger_one(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weights, described = checkpoint_of(exported), []
    cfg = load_model(weights, "cpu")[0].clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS, cfg.TEST.AUG.ENABLED = "~/model_final.pth", True
    monkeypatch.setenv("HOME", str(weights.parent))

    def write(program: Any, path: Path, outputs: Any, metadata: dict[str, str]) -> list[Path]:
        described.append(metadata)
        onnx.save(onnx.load(exported), path)
        return [path]

    monkeypatch.setattr(export, "trace", lambda *given: None)
    monkeypatch.setitem(export.FORMATS, ".onnx", (write, run_onnx))
    (tmp_path / "model.onnx.data").write_text("weights of an earlier one")
    export_model(cfg, tmp_path / "model.onnx", ExportOptions(alignment=True))
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert "averages several views of an image; the file sees it once" in caplog.text
    assert described[0]["checkpoint_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize(("difference", "equal"), [(2e-3, 1.0), (1e-5, 0.9998), (float("nan"), 1.0)])
def test_bounds(difference: float, equal: float) -> None:
    check(
        [FileComparison((256, 256), 1e-4, 0.99995, (1.0, 1.0)), FileComparison((8, 8), 1e-4, 61 / 64, (1.0, 1.0))],
        "float32",
    )
    with pytest.raises(ExportError, match=r"256 x 256.*at most 0.001 of the spread and at least 99.99%"):
        check([FileComparison((256, 256), difference, equal, (1.0, 1.0))], "float32")


def test_an_unpadded_model_for_its_window_or_for_all_sizes(change: Callable) -> None:
    window = ("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.SLIDING_WINDOW.SIZE", 72, "TEST.SLIDING_WINDOW.STRIDE", 43)
    small = ("MODEL.CONTEXT_DECODER.NUM_LAYERS", 1, "MODEL.PROMPT.NAME", "template")
    weights = change("TEST.PAD_TO_STRIDE", False, *small, *VIT, *window)
    _, model = load_model(weights, "cpu")
    assert choose_size(ExportOptions(), model) == (72, 72)
    assert choose_size(ExportOptions(dynamic=True), model) is None
    assert choose_size(ExportOptions(size=(40, 50)), model) == (40, 50)
    graph = WindowGraph(model)
    for size in ((72, 72), (20, 50)):
        (picture,) = draw_pictures([size])
        wanted = Predictor(weights, "cpu")(picture[0].transpose(1, 2, 0)).scores.logits()
        with torch.no_grad():
            torch.testing.assert_close(graph(torch.from_numpy(picture))[0][0], wanted, rtol=1e-4, atol=1e-4)

    # Maps that are twice as large as the next ones in one picture are not in another.
    recorded = trace(graph, None).module()
    sizes = [(64, 96), (100, 79), (97, 163), (66, 130), (127, 95)]
    check(compare_with_model(lambda picture: [recorded(torch.from_numpy(picture))[0].numpy()], graph, sizes), "float32")


def test_what_cannot_be_exported(change: Callable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found the ending '.trt', wanted one of .onnx, .pt2"):
        export_model(tmp_path / "model.pth", tmp_path / "model.trt", ExportOptions())
    weights = change(*BASELINE)
    with pytest.raises(ValueError, match="no alignment, and its own classes alone"):
        export_model(weights, tmp_path / "model.onnx", ExportOptions(alignment=True))
    assert not list(tmp_path.glob("model*"))
