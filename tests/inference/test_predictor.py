"""Predictor: what Detectron2's predictor says, from any kind of image, in any number of threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultPredictor
from PIL import Image

import icpc_d2
from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.reading import BadFileError
from icpc_d2.evaluation.label_maps import as_evaluated
from icpc_d2.inference.predictor import Predictor, read_config
from tests.support.blocks import make_image
from tests.support.checkpoints import CLASSES, tiny_cfg, write_checkpoint

WINDOWS = ("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 43)
WORDS = ["a red car", "grass", "sky"]


@pytest.mark.parametrize("options", [(), WINDOWS, ("MODEL.PREDICT_FROM", "alignment", "INPUT.FORMAT", "BGR")])
def test_equals_default_predictor(tmp_path: Path, options: tuple) -> None:
    cfg = tiny_cfg(*options)
    cfg.MODEL.WEIGHTS = str(write_checkpoint(tmp_path, cfg))
    theirs, ours = DefaultPredictor(cfg), Predictor(cfg)
    for size in ((60, 90), (131, 47), (64, 64)):
        logits = theirs(make_image(*size)[:, :, ::-1])["sem_seg"]
        found = ours(make_image(*size))
        np.testing.assert_array_equal(found.labels, logits.argmax(dim=0))
        probabilities = np.stack([found.probability(name) for name in CLASSES])
        np.testing.assert_allclose(probabilities, logits.softmax(dim=0), atol=1e-5)
        assert found.predict_from == cfg.MODEL.PREDICT_FROM
        assert probabilities.std(axis=(1, 2)).min() > 0, "a constant proves nothing"


@pytest.mark.parametrize("options", [(), (*WINDOWS, "INPUT.FORMAT", "BGR")])
def test_test_time_augmentation_is_that_of_an_evaluation(tmp_path: Path, options: tuple) -> None:
    cfg = tiny_cfg("TEST.AUG.ENABLED", True, "TEST.AUG.SCALES", [0.5, 1.0, 1.25], *options)
    cfg.MODEL.WEIGHTS = str(write_checkpoint(tmp_path, cfg))
    predictor = Predictor(cfg)
    for name, size in (("wide", (60, 90)), ("high", (131, 47))):
        Image.fromarray(make_image(*size)).save(tmp_path / f"{name}.png")
        inputs = SemSegDatasetMapper(cfg, False)({"file_name": str(tmp_path / f"{name}.png")})
        with torch.no_grad():
            (wanted,) = as_evaluated(cfg, predictor._model)([inputs])
            (scores,) = as_evaluated(cfg, predictor._model).model([inputs])
        found = predictor(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(found.labels, wanted["labels"])
        probabilities = np.stack([found.probability(name) for name in CLASSES])
        np.testing.assert_allclose(probabilities, scores["sem_seg"], atol=1e-6)
        assert (Predictor(cfg, tta=False)(make_image(*size)).probability("sky") != probabilities[0]).any()


def test_any_kind_of_image(predictor: Predictor, tmp_path: Path) -> None:
    image = make_image()
    wanted = predictor(image).labels
    Image.fromarray(image).save(tmp_path / "plain.png")
    for kind in (tmp_path / "plain.png", str(tmp_path / "plain.png"), Image.fromarray(image)):
        found = predictor(kind)
        np.testing.assert_array_equal(found.labels, wanted)
        np.testing.assert_array_equal(found.image, image)

    np.testing.assert_array_equal(predictor(Image.fromarray(image).convert("RGBA")).image, image)
    grey = Image.fromarray(image).convert("L")
    for kind in (grey, np.asarray(grey), Image.fromarray(np.asarray(grey).astype(np.uint16) * 256)):
        np.testing.assert_array_equal(predictor(kind).image, np.asarray(grey)[:, :, None].repeat(3, axis=2))
    turned = Image.fromarray(image)
    turned.getexif()[0x0112] = 6
    assert predictor(turned).labels.shape == (90, 60)
    assert predictor(np.zeros((1, 700, 3), np.uint8)).labels.shape == (1, 700)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7]
)
def test_what_is_no_image_is_named(predictor: Predictor, wrong: object) -> None:
    with pytest.raises(ValueError, match="found an image of .*wanted"):
        predictor(wrong)


def test_broken_files_are_named(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(BadFileError, match=r"broken\.png"):
        predictor(tmp_path / "broken.png")


def test_lists_keep_their_order(predictor: Predictor) -> None:
    images = [
        make_image(60, 90, 1),
        make_image(50, 80, 2),
        make_image(60, 90, 3),
        *(make_image(64, 64, k) for k in range(4, 14)),
    ]
    found = predictor(images)
    assert predictor([]) == []
    for image, prediction in zip(images, found, strict=True):
        alone = predictor(image)
        for name in CLASSES:
            np.testing.assert_allclose(prediction.probability(name), alone.probability(name), atol=1e-5)
        assert (prediction.labels == alone.labels).mean() > 0.999


def test_threads_give_the_same_and_nothing_global_changes(checkpoint: Path) -> None:
    predictor = Predictor(checkpoint, "cpu")  # a new one, which has kept nothing of earlier calls
    jobs = [(make_image(60, 90, k % 4), [None, WORDS, ["water", "sand"]][k % 3]) for k in range(16)]
    random, numpy_random = torch.get_rng_state(), np.random.get_state()[1].copy()
    catalog = set(MetadataCatalog.list())

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda job: predictor(*job), jobs))

    for prediction, job in zip(together, jobs, strict=True):
        alone = predictor(*job)
        np.testing.assert_array_equal(prediction.labels, alone.labels)
        np.testing.assert_array_equal(prediction.probability("sky" if "sky" in alone.classes else "sand"),
                                      alone.probability("sky" if "sky" in alone.classes else "sand"))  # fmt: skip
    assert torch.equal(torch.get_rng_state(), random) and (np.random.get_state()[1] == numpy_random).all()
    assert set(MetadataCatalog.list()) == catalog
    assert torch.is_grad_enabled() and torch.get_num_threads() == 1


def test_a_model_without_text(tmp_path: Path) -> None:
    cfg = tiny_cfg("MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.BACKBONE.NAME", "build_fpn_backbone",
                   "MODEL.CLIP.OUT_FEATURES", ["res2", "res3", "res4", "res5"])  # fmt: skip
    cfg.MODEL.WEIGHTS = str(write_checkpoint(tmp_path, cfg))
    found = Predictor(cfg)(make_image())
    wanted = DefaultPredictor(cfg)(make_image()[:, :, ::-1])["sem_seg"].argmax(dim=0)
    np.testing.assert_array_equal(found.labels, wanted)
    with pytest.raises(ValueError, match="no alignment"):
        found.regions("sky")
    with pytest.raises(ValueError, match="compares no text with images"):
        Predictor(cfg)(make_image(), classes=WORDS)


def test_the_config_beside_or_inside_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    alone = tmp_path / "weights.pth"
    torch.save(content, alone)
    with pytest.raises(FileNotFoundError, match=r"no config\.yaml beside"):
        Predictor(alone)
    torch.save({**content, "config": (checkpoint.parent / "config.yaml").read_text()}, alone)
    np.testing.assert_array_equal(
        Predictor(alone, "cpu")(make_image()).labels, Predictor(checkpoint)(make_image()).labels
    )
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*nowhere\.pth"):
        Predictor(tmp_path / "nowhere.pth")


def test_configs_of_other_releases_are_read_and_none_runs_code(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text, weights = (checkpoint.parent / "config.yaml").read_text(), tmp_path / "model_final.pth"
    weights.write_bytes(checkpoint.read_bytes())
    (tmp_path / "config.yaml").write_text(text + "A_KEY_OF_TOMORROW:\n  SET: true\n")
    assert read_config(weights).MODEL.CLASS_NAMES == CLASSES
    assert "unknown here, of another release, left out: ['A_KEY_OF_TOMORROW.SET']" in caplog.text
    (tmp_path / "config.yaml").write_text(text + f"X: !!python/object/apply:pathlib.Path.touch [{tmp_path}/ran]\n")
    with pytest.raises(Exception, match="python/object"):
        read_config(weights)
    assert not (tmp_path / "ran").exists()


def test_colours_are_those_of_the_training_set(checkpoint: Path) -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (9, 9, 9)]
    MetadataCatalog.get("coloured").set(stuff_classes=CLASSES, stuff_colors=colors)
    try:
        cfg: CfgNode = read_config(checkpoint)
        cfg.DATASETS.TRAIN = ("coloured",)
        predictor = Predictor(cfg)
    finally:
        MetadataCatalog.remove("coloured")
    prediction = predictor(make_image())
    np.testing.assert_array_equal(prediction.color(), np.array(colors)[prediction.labels])
    words = predictor(make_image(), classes=["car", "grass", "sky"])
    known = words.labels != 1
    assert known.any()
    wanted = np.array([colors[3], (0, 0, 0), colors[0]])[words.labels]
    np.testing.assert_array_equal(words.color()[known], wanted[known])


def test_files_of_every_kind(predictor: Predictor, tmp_path: Path) -> None:
    prediction = predictor(make_image())
    for kind in ("overlay", "color", "label", "side-by-side", "json"):
        prediction.save(tmp_path / "new" / f"{kind}{'.json' if kind == 'json' else '.png'}", kind)
    read = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "new").glob("*.png")}
    np.testing.assert_array_equal(read["label"], prediction.labels)
    np.testing.assert_array_equal(read["color"], prediction.color())
    np.testing.assert_array_equal(read["overlay"], prediction.overlay())
    assert read["side-by-side"].shape[1] > 2 * 400
    summary = json.loads((tmp_path / "new" / "json.json").read_text())
    assert sum(entry["share"] for entry in summary["classes"]) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="kind is 'mask'; wanted is one of overlay"):
        prediction.save(tmp_path / "mask.png", "mask")
    with pytest.raises(ValueError, match=r"\.png alone"):
        prediction.save(tmp_path / "label.jpg", "label")


def test_a_file_that_cannot_be_finished_leaves_nothing(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Image.Image, path: Path, *args: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    prediction = predictor(make_image())
    prediction.save(tmp_path / "label.png", "label")
    before = (tmp_path / "label.png").read_bytes()
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        prediction.save(tmp_path / "label.png", "label")
    assert [path.name for path in tmp_path.iterdir()] == ["label.png"]
    assert (tmp_path / "label.png").read_bytes() == before


def test_labels_of_many_classes_are_16_bit(predictor: Predictor, tmp_path: Path) -> None:
    prediction = predictor(make_image(), classes=[f"thing {number}" for number in range(300)])
    prediction.save(tmp_path / "label.png", "label")
    read = np.asarray(Image.open(tmp_path / "label.png"))
    np.testing.assert_array_equal(read, prediction.labels)
    assert read.dtype == np.uint16


def test_it_is_offered_by_the_package() -> None:
    assert icpc_d2.Predictor is Predictor
    assert all(hasattr(icpc_d2, name) for name in icpc_d2.__all__)


def test_colours_of_the_config_are_used_where_the_training_set_is_unknown(checkpoint: Path) -> None:
    cfg: CfgNode = read_config(checkpoint)
    cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_COLORS = ("folder:gone/train",), ["#c80000", "#00c800", "#0000c8", "#090909"]
    found = Predictor(cfg)(make_image())
    colors = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200), (9, 9, 9)], np.uint8)
    np.testing.assert_array_equal(found.color(), colors[found.labels])
    cfg.MODEL.CLASS_COLORS = ["red"] * 4
    with pytest.raises(ValueError, match=r"MODEL.CLASS_COLORS is \['red'.*wanted is a colour such as '#4682b4'"):
        Predictor(cfg)


def test_images_of_12_bits_are_read_as_in_training(tmp_path: Path) -> None:
    cfg = tiny_cfg("INPUT.VALUE_RANGE", [0, 4095])
    predictor = Predictor(write_checkpoint(tmp_path, cfg), "cpu")
    grey = make_image()[:, :, 0]
    deep = Image.fromarray((grey.astype(np.float64) * 4095 / 255).round().astype(np.uint16))
    deep.save(tmp_path / "deep.png")
    wanted = predictor(grey)
    for image in (deep, tmp_path / "deep.png"):
        np.testing.assert_array_equal(predictor(image).image, wanted.image)
        np.testing.assert_array_equal(predictor(image).labels, wanted.labels)


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (np.zeros((3, 60, 90), np.uint8), r"shape \(3, 60, 90\) .*Channels come last: image.transpose\(1, 2, 0\)"),
        (np.zeros((60, 90, 4), np.uint8), r"Without transparency it is image\[:, :, :3\]"),
        (np.zeros((60, 90, 1), np.uint8), r"A grey one is image\[:, :, 0\]"),
        (np.zeros((2, 60, 90, 3), np.uint8), "Give several images as a list"),
        (np.zeros((60, 90, 3), np.float32), r"\(255 \* image\)"),
        (np.zeros((60, 90), np.uint16), r"\(image - low\)"),
        (Image.fromarray(np.zeros((60, 90), np.int32)), "type int32 .*INPUT.VALUE_RANGE"),
    ],
)
def test_arrays_that_are_not_taken_are_told_how_to_be(predictor: Predictor, image: object, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        predictor(image)
