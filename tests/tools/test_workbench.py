"""What the web page does, without the page."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.app.uploads import Limits, UploadError
from icpc_d2.tools.app.workbench import (
    SegmentedUpload,
    Workbench,
    class_colors,
    parse_class_names,
    region_map,
    shares,
    write_examples,
    write_zip,
)
from tests.support.page import CLASSES
from tests.support.strange_images import encode, photo


@pytest.fixture
def workbench(predictor: Predictor) -> Workbench:
    return Workbench(predictor, Limits())


@pytest.fixture
def answer(workbench: Workbench, tmp_path: Path) -> SegmentedUpload:
    (tmp_path / "upload").write_bytes(encode(photo(), "PNG"))
    return workbench.segment(str(tmp_path / "upload"), "../My picture.png")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", None),
        (" ,\n, ", None),
        ("sky, lake", (("sky",), ("lake",))),
        ("sky\nsailing   boat,,sky\r\n", (("sky",), ("sailing boat",))),
        ("sky;\nboat, ship", (("sky",), ("boat", "ship"))),
    ],
)
def test_class_names_stand_between_commas_or_line_ends(text: str, names: tuple[tuple[str, ...], ...] | None) -> None:
    assert parse_class_names(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sky", "one class alone, sky; every pixel"),
        ("boat, ship;", "one class alone, boat, ship; every pixel"),
        ('sky, "road', "a quotation mark is left open"),
        (", ".join(f"thing {index}" for index in range(101)), "Found 101 class names; at most 100"),
        ("sky, " + "very " * 40 + "long", "a class name of 204 letters; at most 80"),
    ],
)
def test_class_names_that_are_not_taken_have_a_message(text: str, message: str) -> None:
    with pytest.raises(UploadError, match=message):
        parse_class_names(text)


def test_an_answer_is_what_the_predictor_says(workbench: Workbench, answer: SegmentedUpload) -> None:
    wanted = workbench.predictor(np.asarray(photo()))
    np.testing.assert_array_equal(answer.prediction.labels, wanted.labels)
    assert list(answer.seconds) == ["read", "model", "labels"]
    assert all(seconds > 0 for seconds in answer.seconds.values())
    assert "CPU" in workbench.device


def test_shares_cover_the_picture_from_the_largest(answer: SegmentedUpload) -> None:
    found = shares(answer.prediction)
    assert set(found) == set(CLASSES)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1)
    name = next(iter(found))
    assert found[name] == pytest.approx((answer.prediction.labels == CLASSES.index(name)).mean())


def test_other_class_names_come_from_the_alignment(workbench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(encode(photo(), "PNG"))
    answer = workbench.segment(str(tmp_path / "upload"), "a.png", "lake, sailing boat", "decoder")
    assert (answer.prediction.classes, answer.prediction.predict_from) == (["lake", "sailing boat"], "alignment")
    with pytest.raises(UploadError, match="Empty the field of class names to compare"):
        workbench.compare(answer)


def test_names_with_too_many_tokens_have_a_message(workbench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(encode(photo(), "PNG"))
    with pytest.raises(UploadError, match="token"):
        workbench.segment(str(tmp_path / "upload"), "a.png", f"sky, {'9' * 79}")


def test_comparison_shows_both_and_how_far_they_agree(workbench: Workbench, answer: SegmentedUpload) -> None:
    decoder, alignment, agreement = workbench.compare(answer)
    for found in (decoder, alignment):
        wanted = workbench.predictor(np.asarray(photo()), predict_from=found.predict_from)
        np.testing.assert_array_equal(found.labels, wanted.labels)
    assert (decoder.predict_from, alignment.predict_from) == ("decoder", "alignment")
    same = decoder.labels == alignment.labels
    assert agreement == pytest.approx(same.mean())


def test_a_model_without_a_decoder_is_not_compared(workbench: Workbench, answer: SegmentedUpload) -> None:
    """As a file that was exported for other words."""

    def refuse(*given: object, **named: object) -> None:
        raise ValueError("the file predicts from the alignment")

    workbench.predictor = refuse
    with pytest.raises(UploadError, match="the file predicts from the alignment"):
        workbench.compare(answer)


def test_region_maps_are_bright_where_a_is_large() -> None:
    regions = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (30, 1))
    prediction = SimpleNamespace(image=np.full((30, 50, 3), 100, np.uint8), regions={"sky": regions}.get)
    drawn = region_map(prediction, "sky")
    assert (drawn.dtype, drawn.shape) == (np.uint8, (30, 50, 3))
    brightness = drawn.astype(float).mean(axis=2)
    assert (np.diff(brightness, axis=1) >= 0).all()
    assert brightness[0, -1] - brightness[0, 0] > 100


def test_the_zip_has_every_kind_and_is_named_for_the_picture(answer: SegmentedUpload, tmp_path: Path) -> None:
    path = write_zip(answer, tmp_path)
    assert path.name == "My picture_icpc.zip"
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {"overlay.png", "color.png", "label.png", "side-by-side.png", "json.json"}
        with archive.open("label.png") as file:
            np.testing.assert_array_equal(np.asarray(Image.open(file)), answer.prediction.labels)
        assert json.loads(archive.read("json.json"))["width"] == 80
    assert write_zip(answer, tmp_path) != path, "two visitors send pictures of one name"


def test_examples_are_pictures_of_the_size_of_a_photograph(tmp_path: Path) -> None:
    paths = write_examples(tmp_path)
    assert len(set(paths)) >= 4
    assert all(Image.open(path).size == (624, 480) for path in paths)


def test_colors_are_those_that_the_classes_are_painted_in(answer: SegmentedUpload) -> None:
    prediction = answer.prediction
    colors = class_colors(prediction)
    assert set(colors) == {CLASSES[index] for index in np.unique(prediction.labels)}
    rows, columns = 40, 50
    wanted = "#" + bytes(prediction.color()[rows, columns]).hex()
    assert colors[CLASSES[prediction.labels[rows, columns]]] == wanted
