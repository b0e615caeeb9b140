"""The plots: what they show is what they were given, and it can be read."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from icpc_d2.visualization.confusion import OTHER, class_iou, draw_confusion, keep_largest
from icpc_d2.visualization.curves import Curve, draw_curves
from icpc_d2.visualization.figure import check_path, group_style, line_style, saved_figure
from icpc_d2.visualization.prompt_words import draw_prompt_words
from icpc_d2.visualization.scores import draw_scores
from tests.support.plots import assert_legible, texts

Drawn = list[Figure]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_ending_says_the_kind_and_the_file_is_the_same_every_time(
    tmp_path: Path, suffix: str, start: bytes
) -> None:
    for name in ("one", "two"):
        with saved_figure(tmp_path / "new" / f"{name}{suffix}", 2, 1) as figure:
            figure.subplots().plot([0, 1], [0, 1], label="a")
    content = (tmp_path / "new" / f"one{suffix}").read_bytes()
    assert content.startswith(start)
    assert content == (tmp_path / "new" / f"two{suffix}").read_bytes()


def test_other_endings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ending '.jpeg', wanted one of .png, .svg, .pdf"):
        check_path("a/b.jpeg")


def test_styles_differ() -> None:
    assert len({group_style(index) for index in range(42)}) == 42
    assert len({line_style(index) for index in range(84)}) == 84


def test_a_curve_is_the_mean_of_its_runs_where_all_have_values(tmp_path: Path, drawn: Drawn) -> None:
    curves = {
        "one": [Curve([10, 20], [1.0, 2.0])],
        "three": [Curve([10, 20, 30], [1.0, 4.0, 9.0]), Curve([10, 20], [2.0, 5.0]), Curve([20, 10], [9.0, 6.0])],
    }
    draw_curves(tmp_path / "curves.svg", curves, "mIoU (%)")
    one, three = drawn[0].axes[0].get_lines()
    np.testing.assert_allclose(one.get_xydata(), [[10, 1], [20, 2]])
    np.testing.assert_allclose(three.get_xydata(), [[10, 3], [20, 6]])
    (band,) = drawn[0].axes[0].collections
    np.testing.assert_allclose(band.get_paths()[0].get_extents().extents, [10, 1, 20, 9])
    assert {"one", "three (3 runs)", "mIoU (%)"} <= set(texts(drawn[0]))
    assert one.get_linestyle() != three.get_linestyle() and one.get_marker() != three.get_marker()
    assert_legible(drawn[0])


def test_scores_show_every_run_and_their_mean(tmp_path: Path, drawn: Drawn) -> None:
    draw_scores(tmp_path / "scores.svg", {"a": [1.0, 2.0, 6.0], "alone": [4.0], "none": []}, "mIoU (%)")
    written = texts(drawn[0])
    assert {"3.00 ± 2.65", "4.00", "a", "alone", "none"} <= set(written)
    points = [line.get_xdata().tolist() for line in drawn[0].axes[0].get_lines() if line.get_label() == "run"]
    assert points == [[1.0, 2.0, 6.0], [4.0], []]
    assert_legible(drawn[0])


MATRIX = np.array([[8, 2, 0], [1, 5, 0], [0, 0, 0]])


def test_iou_by_hand() -> None:
    np.testing.assert_allclose(class_iou(MATRIX), [8 / 11, 5 / 8, np.nan])


def test_small_classes_are_merged_and_no_pixel_is_lost() -> None:
    matrix = np.arange(16).reshape(4, 4)
    merged, kept = keep_largest(matrix, 2)
    assert kept == [2, 3]
    np.testing.assert_array_equal(merged, [[10, 11, 8 + 9], [14, 15, 12 + 13], [2 + 6, 3 + 7, 0 + 1 + 4 + 5]])
    assert keep_largest(matrix, 4)[0] is matrix


def test_confusion_is_in_shares_of_the_label_with_the_iou_of_all(tmp_path: Path, drawn: Drawn) -> None:
    draw_confusion(tmp_path / "confusion.svg", MATRIX, ["sky", "road", "boat"])
    left, right = drawn[0].axes
    np.testing.assert_allclose(left.images[0].get_array(), [[80, 20, 0], [100 / 6, 500 / 6, 0], [0, 0, 0]])
    assert {"80", "20", "17", "83"} <= {text.get_text() for text in left.texts}
    assert [text.get_text() for text in right.texts] == ["72.7", "62.5", "not in the labels"]
    assert "mean of 2 classes: 67.6" in right.get_title()
    assert_legible(drawn[0])


def test_confusion_of_many_classes_can_be_read(tmp_path: Path, drawn: Drawn) -> None:
    matrix = np.random.default_rng(0).integers(0, 100, (150, 150))
    draw_confusion(tmp_path / "confusion.png", matrix, [f"a class name {index}" for index in range(150)])
    assert OTHER in texts(drawn[0])
    assert len(drawn[0].axes[1].texts) == 30
    assert_legible(drawn[0])


def test_prompt_words_stand_in_their_cells_as_they_are(tmp_path: Path, drawn: Drawn) -> None:
    draw_prompt_words(tmp_path / "words.svg", [[("photo", 0.9), ("$x$", 0.1)], [("of", 0.5), ("a", -0.2)]])
    cells = {text.get_text(): text.get_position() for text in drawn[0].axes[0].texts}
    assert cells == {"photo": (0, 0), "$x$": (1, 0), "of": (0, 1), "a": (1, 1)}
    np.testing.assert_allclose(drawn[0].axes[0].images[0].get_array(), [[0.9, 0.1], [0.5, -0.2]])
    assert_legible(drawn[0])


def test_many_curves_have_no_bands_that_would_hide_each_other(tmp_path: Path, drawn: Drawn) -> None:
    group = [Curve([10, 20], [1.0, 2.0]), Curve([10, 20], [3.0, 4.0])]
    draw_curves(tmp_path / "curves.png", {str(index): group for index in range(5)}, "mIoU (%)")
    assert len(drawn[0].axes[0].get_lines()) == 5
    assert not drawn[0].axes[0].collections
    assert_legible(drawn[0])
