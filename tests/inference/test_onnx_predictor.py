"""OnnxPredictor: what Predictor says, by numpy, onnxruntime and Pillow alone."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

import icpc_d2.inference
from icpc_d2.inference import onnx_predictor
from icpc_d2.inference.exported_predictor import ExportedPredictor, load_predictor
from icpc_d2.inference.onnx_predictor import OnnxPredictor
from icpc_d2.inference.predictor import Predictor
from icpc_d2.visualization.connected_regions import connected_regions
from tests.support.blocks import make_image
from tests.support.checkpoints import CLASSES, tiny_cfg

WINDOWS = ("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 43)


@pytest.fixture(scope="module")
def folder(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and its export, for images of all sizes."""
    folder = tmp_path_factory.mktemp("checkpoint")
    for path in (exported, *(exported.parents[1] / name for name in ("config.yaml", "model_final.pth"))):
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def windowed(folder: Path) -> Path:
    """The same model by sliding window: a config and a file that say so."""
    inner = folder / "windowed"
    inner.mkdir()
    (inner / "config.yaml").write_text(tiny_cfg("MODEL.CONTEXT_DECODER.NUM_LAYERS", 1, *WINDOWS).dump())
    (inner / "model_final.pth").symlink_to(folder / "model_final.pth")
    model = onnx.load(folder / "model.onnx")
    for entry in model.metadata_props:
        if entry.key == "icpc.preprocessing":
            entry.value = json.dumps(json.loads(entry.value) | {"window": [64, 43]})
    onnx.save(model, inner / "model.onnx")
    return inner


@pytest.mark.parametrize("size", [(60, 90), (131, 47), (64, 64), (3, 200)])
def test_equals_predictor(folder: Path, windowed: Path, size: tuple[int, int], tmp_path: Path) -> None:
    image = make_image(*size)
    for place in (folder, windowed):
        wanted = Predictor(place / "model_final.pth", "cpu")(image)
        found = OnnxPredictor(place / "model.onnx")(image)
        assert (found.labels == wanted.labels).mean() >= 0.999
        found.labels = wanted.labels  # what follows is then the same to the last bit
        np.testing.assert_array_equal(found.overlay(0.4), wanted.overlay(0.4, legend=False))
        np.testing.assert_array_equal(found.color(), wanted.color())
        assert found.summary() == wanted.summary()
        assert len(np.unique(found.labels)) > 1, "a constant proves nothing"


def test_any_kind_of_image(folder: Path, tmp_path: Path) -> None:
    predictor, image = OnnxPredictor(folder / "model.onnx"), make_image()
    wanted = predictor(image)
    assert wanted.classes == CLASSES and list(wanted.seconds) == ["read", "model", "labels"]
    turned = Image.fromarray(image)
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.png")
    Image.fromarray(image).save(tmp_path / "plain.png")
    grey = Image.fromarray(image).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256)
    deep.save(tmp_path / "deep.png")
    checkpoint = Predictor(folder / "model_final.pth", "cpu")
    for source in (
        tmp_path / "turned.png",
        tmp_path / "plain.png",
        tmp_path / "deep.png",
        grey,
        deep,
        np.asarray(grey),
    ):
        np.testing.assert_array_equal(predictor(source).image, checkpoint(source).image)
    first, second = predictor([image, make_image(64, 64)])
    np.testing.assert_array_equal(first.labels, wanted.labels)
    assert second.labels.shape == (64, 64)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tif")
    predictor.value_range = (0, 1)
    for wrong in (tmp_path / "broken.png", tmp_path / "nan.tif", np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"found .*wanted|wanted .*found"):
            predictor(wrong)


def test_files_of_a_prediction(folder: Path, tmp_path: Path) -> None:
    found = OnnxPredictor(folder / "model.onnx")(make_image())
    wanted = Predictor(folder / "model_final.pth", "cpu")(make_image())
    for kind, name in (("label", "a.png"), ("color", "b.png"), ("json", "c.json")):
        found.save(tmp_path / name, kind)
        wanted.save(tmp_path / f"wanted_{name}", kind)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"wanted_{name}").read_bytes()
    with pytest.raises(ValueError, match="wanted is overlay, color"):
        found.save(tmp_path / "a.jpg", "label")
    assert not list(tmp_path.glob(".tmp*"))


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (37, 53), (64, 200)])
def test_regions_are_those_of_opencv(shape: tuple[int, int], classes: int) -> None:
    for seed, blur in enumerate((1, 3, 15)):
        noise = np.random.default_rng(seed).random(shape, np.float32)
        noise = cv2.blur(noise, (blur, blur))
        labels = np.digitize(noise, np.quantile(noise, np.linspace(0, 1, classes + 1)[1:-1])).astype(np.int64)
        prediction = onnx_predictor.OnnxPrediction(
            np.zeros((*shape, 3), np.uint8), labels, list("abcde"), np.zeros((5, 3), np.uint8), "decoder", {}
        )
        present = [int(index) for index in np.argsort(-np.bincount(labels.ravel()), kind="stable")]
        wanted = connected_regions(labels, [index for index in present if (labels == index).any()])
        found = prediction.summary()["classes"]
        assert [{key: entry[key] for key in entry if key != "class"} for entry in found] == wanted


@pytest.fixture
def label_file(folder: Path, tmp_path: Path) -> Path:
    """The same file as `icpc export --size 64 96 --labels` writes it."""
    model = onnx.load(folder / "model.onnx")
    for axis, side in ((2, 64), (3, 96)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    model.graph.node.append(onnx.helper.make_node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0))
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, (1, 64, 96)))
    onnx.save(model, tmp_path / "labels.onnx")
    return tmp_path / "labels.onnx"


def test_a_file_of_one_size_says_where_it_leaves_the_rule(folder: Path, label_file: Path) -> None:
    predictor, checkpoint = OnnxPredictor(label_file), Predictor(folder / "model_final.pth", "cpu")
    assert (predictor(make_image(64, 96)).labels == checkpoint(make_image(64, 96)).labels).mean() >= 0.999
    with pytest.warns(UserWarning, match="takes images of 64 x 96 alone, where the model's rule gives 64 x 64"):
        assert predictor(make_image(50, 50)).labels.shape == (50, 50)
    with pytest.raises(ValueError, match="found a file of label maps"):
        ExportedPredictor(label_file, "cpu")


def test_what_is_no_exported_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        OnnxPredictor(tmp_path / "model.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.onnx: wanted a model that onnxruntime can read"):
        OnnxPredictor(tmp_path / "broken.onnx")
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(ValueError, match="found the form None of the metadata, wanted '1'"):
        OnnxPredictor(tmp_path / "strange.onnx")


def test_the_file_stands_alone(folder: Path) -> None:
    """No other module of ours, no PyTorch: tests/docs runs it in an environment of its own."""
    assert icpc_d2.inference.OnnxPredictor is OnnxPredictor
    source = Path(onnx_predictor.__file__).read_text()
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    third = {"numpy", "onnxruntime", "PIL"}
    standard = {"json", "os", "sys", "time", "warnings", "collections", "dataclasses", "pathlib", "typing"}
    assert imported == third | standard


def test_in_the_place_of_a_checkpoint(folder: Path, windowed: Path) -> None:
    for place in (folder, windowed):
        exported = ExportedPredictor(place / "model.onnx", "cpu")
        checkpoint = Predictor(place / "model_final.pth", "cpu")
        images = [make_image(60, 90), make_image(131, 47)]
        for predict_from in ("decoder", "alignment"):
            predictions = exported(images, predict_from=predict_from)
            for found, wanted in zip(predictions, checkpoint(images, predict_from=predict_from), strict=True):
                assert (found.labels == wanted.labels).mean() >= 0.999
                assert found.classes == wanted.classes and found.predict_from == predict_from
                for name in CLASSES:
                    np.testing.assert_allclose(found.probability(name), wanted.probability(name), atol=1e-4)
                    np.testing.assert_allclose(found.regions(name), wanted.regions(name), atol=1e-4)
                moved = found.scores.to("cpu")
                np.testing.assert_array_equal(moved.logits().numpy(), found.scores.logits().numpy())
                np.testing.assert_array_equal(moved.labels().numpy(), found.labels)
    with pytest.raises(ValueError, match="predict_from is 'Alignment', but the file predicts from the decoder"):
        exported(images, predict_from="Alignment")
    # Of such a file both outputs are A, and none is the decoder's.
    exported.predict_from = "alignment"
    with pytest.raises(ValueError, match="predict_from is 'decoder', but the file predicts from the alignment"):
        exported(images, predict_from="decoder")
    with pytest.raises(ValueError, match="`icpc export --classes` writes one for others"):
        exported(images, classes=["sky", "road"])
    with pytest.raises(ValueError, match="nothing for the device 'mps'"):
        ExportedPredictor(folder / "model.onnx", "mps")


def test_a_gpu_that_onnxruntime_cannot_use_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would go on with the CPU, many times slower, and the page would name a GPU."""
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(ValueError, match="for GPUs that does not start here.* Wanted was the device 'cuda'"):
        ExportedPredictor(folder / "model.onnx", "cuda")
    assert ExportedPredictor(folder / "model.onnx").device.type == "cpu"
    assert "The file runs on the CPU" in caplog.text


def test_weights_may_begin_with_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    for name in ("model.onnx", "model_final.pth"):
        assert load_predictor(f"~/{name}", "cpu").classes == CLASSES
