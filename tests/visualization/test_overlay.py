import numpy as np
import pytest
from PIL import ImageFont

from icpc_d2.visualization import Palette, blend, draw_sheet, overlay
from icpc_d2.visualization.connected_regions import connected_regions
from icpc_d2.visualization.legend import draw_legend

PALETTE = Palette(["sky", "road", "car"], [(200, 0, 0), (0, 200, 0), (0, 0, 200)])


def test_blend_mixes_and_draws_borders_in_full_colour() -> None:
    image = np.full((6, 8, 3), 100, np.uint8)
    labels = np.zeros((6, 8), int)
    labels[:, 4:] = 2
    mixed = blend(image, labels, PALETTE, alpha=0.25)
    np.testing.assert_array_equal(mixed[0, 0], [125, 75, 75])
    np.testing.assert_array_equal(mixed[:, 3], np.tile([200, 0, 0], (6, 1)))
    np.testing.assert_array_equal(mixed[:, 4], np.tile([0, 0, 200], (6, 1)))
    np.testing.assert_array_equal(blend(image, labels, PALETTE, alpha=0.0), image)
    np.testing.assert_array_equal(blend(image, labels, PALETTE, alpha=1.0), PALETTE.paint(labels))
    with pytest.raises(ValueError, match=r"alpha is 1\.5"):
        blend(image, labels, PALETTE, alpha=1.5)


@pytest.mark.parametrize("size", [(1, 1), (30, 40), (480, 640), (1200, 900)])
def test_overlay_has_a_legend_that_grows_with_the_picture(size: tuple[int, int]) -> None:
    labels = np.zeros(size, int)
    labels[size[0] // 2 :] = 1
    sheet = overlay(np.full((*size, 3), 90, np.uint8), labels, PALETTE, alpha=0.5)
    assert max(sheet.shape[:2]) >= 400
    swatches = (sheet == (200, 0, 0)).all(axis=-1) | (sheet == (0, 200, 0)).all(axis=-1)
    scale = max(1, max(size) / 900)
    below = sheet.shape[0] - round((26 * 2 + 20) * scale)
    present = 2 if size[0] > 1 else 1
    assert swatches[below:].sum() >= present * 20 * 12 * scale**2
    margin = round(20 * scale) - 3
    edges = [sheet[:margin], sheet[-margin:], sheet[:, :margin].reshape(-1, 3), sheet[:, -margin:].reshape(-1, 3)]
    assert all((edge == 255).all() for edge in edges), "something is drawn in the margin"


def test_legend_names_are_whole_or_end_in_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    getlength = ImageFont.FreeTypeFont.getlength

    def note(self: ImageFont.FreeTypeFont, text: str, *args: object) -> float:
        drawn.append((text, getlength(self, text, *args)))
        return drawn[-1][1]

    monkeypatch.setattr(ImageFont.FreeTypeFont, "getlength", note)
    legend = draw_legend(Palette(["short", "a very long name that no legend has room for"]), [0, 1], 200)
    assert legend.width == 200
    ink = np.asarray(legend).min(axis=2) < 100
    assert not ink[:, -1].any(), "a name reaches the edge"
    assert any(text.endswith("…") and length <= 166 for text, length in drawn)


def test_new_names_get_colours_of_their_own() -> None:
    palette = PALETTE.renamed(["grass", "road", "sea", "sky"])
    np.testing.assert_array_equal(palette.colors[[1, 3]], PALETTE.colors[[1, 0]])
    assert len(np.unique(palette.colors, axis=0)) == 4
    distances = np.abs(palette.colors[[0, 2], None].astype(int) - PALETTE.colors[[1, 0]].astype(int)).sum(axis=-1)
    assert distances.min() >= 90
    names = [f"name {index}" for index in range(150)]
    np.testing.assert_array_equal(Palette(names).renamed(names).colors, Palette(names).colors)


def test_regions_have_boxes_and_specks_are_counted() -> None:
    labels = np.zeros((100, 100), int)
    labels[10:30, 20:60] = 2
    labels[50:60, 5:10] = labels[90, 90] = 2
    first, second = connected_regions(labels, [0, 2])
    assert first["id"] == 0 and first["regions"] == [{"box": [0, 0, 100, 100], "area": 10000 - 851}]
    assert second == {
        "id": 2,
        "share": 0.0851,
        "regions": [{"box": [20, 10, 40, 20], "area": 800}, {"box": [5, 50, 5, 10], "area": 50}],
        "small_regions": 1,
    }
    assert connected_regions(labels, [1])[0]["regions"] == []
    assert connected_regions(labels, [-1]) == []


def test_pictures_of_a_sheet_stand_side_by_side() -> None:
    panels = {"one": np.full((300, 400, 3), 11, np.uint8), "two": np.zeros((300, 400), int)}
    sheet = draw_sheet(panels, PALETTE, [0, 2])
    assert (sheet[:, : sheet.shape[1] // 2] == 11).all(axis=-1).sum() == 300 * 400
    assert (sheet[:, sheet.shape[1] // 2 :] == (200, 0, 0)).all(axis=-1).sum() >= 300 * 400
