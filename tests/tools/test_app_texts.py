"""What the page says of an answer, and that names cannot add to the page."""

import re
from types import SimpleNamespace

import numpy as np

from icpc_d2.tools.app.texts import choices, color_scale, describe_upload, legend


def make_answer(
    predict_from: str, class_names: tuple[str, ...] | None = None, notes: tuple[str, ...] = ()
) -> SimpleNamespace:
    prediction = SimpleNamespace(labels=np.zeros((30, 40), int), predict_from=predict_from)
    upload, seconds = SimpleNamespace(notes=notes), {"read": 0.0123, "model": 1.5}
    return SimpleNamespace(prediction=prediction, upload=upload, class_names=class_names, seconds=seconds)


def test_an_answer_is_described_with_size_times_and_device() -> None:
    text = describe_upload(make_answer("decoder"), "CPU")
    assert re.findall(r"\d+", text) == ["40", "30", "12", "1500"], "width, height, milliseconds"
    assert "decoder" in text and "CPU" in text
    note = "Of several frames the first one is used."
    text = describe_upload(make_answer("alignment", ("a", "b"), (note,)), "CPU")
    assert "alignment" in text and note in text


def test_names_are_text_and_not_html() -> None:
    drawn = legend({"<script>alert(1)</script>": "#ff0000", "sea & sky": "#00ff00"})
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "sea &amp; sky" in drawn
    assert drawn.index("#ff0000") < drawn.index("#00ff00")


def test_the_scale_goes_from_dark_to_bright() -> None:
    drawn = color_scale()
    assert drawn.index("#000004") < drawn.index("#fcffa4")


def test_choices_tell_the_share_and_what_is_absent() -> None:
    assert choices({"sky": 0.5, "sea": 0.0}) == [("sky · 50.0%", "sky"), ("sea · not found", "sea")]
