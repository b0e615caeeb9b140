"""Sheets of pictures and embeddings: overlays with names, regions of score maps, t-SNE."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from icpc_d2.visualization import Palette
from icpc_d2.visualization.regions import COLOR_MAP, Regions, draw_regions
from icpc_d2.visualization.segmentations import Segmented, draw_segmentations, label_points
from icpc_d2.visualization.tsne import EmbeddedSet, draw_tsne, project
from tests.support.plots import assert_legible, texts

IMAGE = np.full((40, 60, 3), 90, np.uint8)
LABELS = np.zeros((40, 60), np.int64)
LABELS[:, 20:] = 1
LABELS[0, 0] = 2
PALETTE = Palette(["sky", "road", "boat"], [(200, 0, 0), (0, 0, 200), (0, 200, 0)])


def test_a_name_stands_deepest_inside_its_class() -> None:
    labels = np.zeros((21, 41), int)
    labels[5:16, 10:21] = 1
    points = label_points(labels, 2)
    assert points[1] == (15, 10)
    assert labels[points[0][::-1]] == 0 and points[0][0] > 25, "in the wider part"


def test_specks_and_unknown_ids_get_no_name() -> None:
    assert set(label_points(LABELS, 3)) == {0, 1}
    assert set(label_points(LABELS, 1)) == {0}


@pytest.mark.parametrize("with_label", [True, False])
def test_segmentations_name_what_is_in_them(tmp_path: Path, drawn: list[Figure], with_label: bool) -> None:
    segmented = Segmented(IMAGE, LABELS, 1 - LABELS.clip(max=1) if with_label else None)
    draw_segmentations(tmp_path / "overlay.png", [segmented, segmented], PALETTE)
    panels = drawn[0].axes
    assert len(panels) == (6 if with_label else 4)
    assert [panel.get_title() for panel in panels[:2]] == ["image", "label" if with_label else "prediction"]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), IMAGE)
    painted = panels[len(panels) // 2 - 1].images[0].get_array()
    np.testing.assert_array_equal(painted[20, 5], [145, 45, 45])
    np.testing.assert_array_equal(painted[20, 40], [45, 45, 145])
    assert texts(drawn[0]).count("road") == texts(drawn[0]).count("sky") == (4 if with_label else 2)
    assert "boat" not in texts(drawn[0])
    assert_legible(drawn[0])


def test_ignored_pixels_get_no_name(tmp_path: Path, drawn: list[Figure]) -> None:
    palette = Palette(["sky", "road", "boat"], ignore_label=1)
    draw_segmentations(tmp_path / "overlay.png", [Segmented(IMAGE, LABELS)], palette)
    assert "road" not in texts(drawn[0])


def test_regions_share_one_scale_and_outline_the_truth(tmp_path: Path, drawn: list[Figure]) -> None:
    maps = np.stack([np.linspace(-1, 1, 2400).reshape(40, 60), np.zeros((40, 60))])
    masks = np.stack([LABELS == 1, np.zeros_like(LABELS, bool)])
    rows = [Regions("a", IMAGE, maps, masks), Regions("b", IMAGE, maps / 2, masks)]
    draw_regions(tmp_path / "regions.pdf", rows, ["sky", "road"], "score")
    heat = [panel.images[0] for panel in drawn[0].axes[:6] if panel.images[0].get_array().ndim == 2]
    assert len(heat) == 4
    assert len({image.get_clim() for image in heat}) == 1
    assert {image.get_cmap().name for image in heat} == {COLOR_MAP}
    np.testing.assert_array_equal(heat[2].get_array(), maps[0] / 2)
    assert len(drawn[0].axes[1].collections) == 1, "the outline"
    assert texts(drawn[0]).count("not in this image") == 2
    assert {"a", "b", "sky", "road", "score"} <= set(texts(drawn[0]))
    assert_legible(drawn[0])


def clusters(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (3 * count, 8) around three axes, of any length, and which axis."""
    which = np.repeat(np.arange(3), count)
    points = np.eye(8)[which] + 0.05 * random.normal(size=(3 * count, 8))
    return points * random.uniform(0.5, 5, (3 * count, 1)), which


def test_tsne_keeps_clusters_together_whatever_their_lengths() -> None:
    images, of_image = clusters(np.random.default_rng(0), 30)
    texts_, of_text = clusters(np.random.default_rng(1), 5)
    points, text_points = project(images, texts_)
    assert points.shape == (90, 2) and text_points.shape == (15, 2)
    centres = np.stack([points[of_image == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(text_points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, of_text)
    np.testing.assert_array_equal(project(images, texts_)[0], points)


def test_tsne_of_too_little_is_an_error() -> None:
    with pytest.raises(ValueError, match="found 2 embeddings; t-SNE wants at least 4"):
        project(np.ones((1, 4)), np.ones((1, 4)))


def test_tsne_has_a_panel_for_each_model_and_a_style_for_each_class(tmp_path: Path, drawn: list[Figure]) -> None:
    random = np.random.default_rng(0)
    static = EmbeddedSet("static", *(random.normal(size=(n, 4)) for n in (20, 3)), np.arange(3))
    conditioned = EmbeddedSet("conditioned", *(random.normal(size=(n, 4)) for n in (20, 9)), np.arange(9) % 3)
    draw_tsne(tmp_path / "tsne.png", [static, conditioned], ["sky", "road", "boat"])
    assert [panel.get_title() for panel in drawn[0].axes] == ["static", "conditioned"]
    assert [len(group.get_offsets()) for group in drawn[0].axes[1].collections] == [20, 3, 3, 3]
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["image", "sky", "road", "boat"]
    assert_legible(drawn[0])
