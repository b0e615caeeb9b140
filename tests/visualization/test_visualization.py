import numpy as np
import pytest

from icpc_d2.visualization import Palette, comparison
from icpc_d2.visualization.palette import distinct_colors, hatch

COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
PALETTE = Palette(["sky", "road", "car"], COLORS, ignore_label=255)


def pixels_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color)).all(axis=-1)


def test_paint_gives_each_class_its_colour_and_hatches_the_rest() -> None:
    labels = np.array([[0, 1, 2], [255, 3, -1]])
    painted = PALETTE.paint(labels)
    np.testing.assert_array_equal(painted[0], COLORS)
    np.testing.assert_array_equal(painted[1], hatch(2, 3)[1])


def test_an_ignored_class_is_hatched_even_if_it_is_within_the_range() -> None:
    palette = Palette(["a", "b"], [(9, 9, 9), (8, 8, 8)], ignore_label=0)
    np.testing.assert_array_equal(palette.paint(np.zeros((4, 4), int)), hatch(4, 4))


def test_present_classes_are_ordered_by_area() -> None:
    label, prediction = np.array([[1, 1, 1, 2]]), np.array([[2, 2, 2, 2]])
    assert PALETTE.present(label, prediction) == [2, 1]
    assert PALETTE.present(label, np.array([[255, 0, 0, 0]])) == [0, 1, 2, -1]


def test_names_need_as_many_colours() -> None:
    with pytest.raises(ValueError, match="3 class names but 2 colours"):
        Palette(["a", "b", "c"], [(0, 0, 0), (1, 1, 1)])


def test_colours_of_our_own_are_distinct_and_stable() -> None:
    colors = distinct_colors(847)
    assert len(np.unique(colors, axis=0)) == 847
    np.testing.assert_array_equal(distinct_colors(10), colors[:10])
    neighbours = np.abs(np.diff(colors[:150].astype(int), axis=0)).sum(axis=1)
    assert neighbours.min() > 90


def test_comparison_shows_three_panels_and_a_legend() -> None:
    image = np.full((300, 400, 3), 77, np.uint8)
    label, prediction = np.zeros((300, 400), int), np.ones((300, 400), int)
    picture = comparison(image, label, prediction, PALETTE)
    third = picture.shape[1] // 3
    for column, color in enumerate([(77, 77, 77), COLORS[0], COLORS[1]]):
        panel = pixels_of(picture[:, column * third : (column + 1) * third], color)
        assert panel.sum() >= 300 * 400
    legend = picture[-45:]
    assert pixels_of(legend, COLORS[0]).sum() == pixels_of(legend, COLORS[1]).sum() > 200
    assert not pixels_of(legend, COLORS[2]).any()
    assert (legend < 100).all(axis=-1).sum() > 50, "the names are missing"


@pytest.mark.parametrize("size", [(1, 1), (20, 2000), (2000, 20), (97, 131), (1500, 1500)])
def test_no_text_is_clipped_at_any_size(size: tuple[int, int]) -> None:
    palette = Palette([f"{'long ' * 30}name {index}" for index in range(12)])
    labels = np.arange(size[0] * size[1]).reshape(size) % 12
    picture = comparison(np.zeros((*size, 3), np.uint8), labels, labels[::-1], palette)
    assert picture.dtype == np.uint8
    margin = np.concatenate(
        [edge.reshape(-1, 3) for edge in (picture[:15], picture[-15:], picture[:, :15], picture[:, -15:])]
    )
    assert (margin == 255).all(), "something is drawn in the margin"
    assert max(picture.shape) < 2500


def test_class_255_of_many_is_a_class() -> None:
    palette = Palette([f"class {index}" for index in range(300)])
    labels = np.array([[255, 255, 299]])
    assert palette.present(labels) == [255, 299]
    np.testing.assert_array_equal(palette.paint(labels)[0], palette.colors[[255, 255, 299]])
