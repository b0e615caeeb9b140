"""Reading: ids stay ids whatever the file's kind, images become upright RGB, broken files are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icpc_d2.data.reading import BadFileError, read_image, read_label

IDS = np.array([[0, 2, 15], [255, 1, 0]], np.uint8)
WIDE_IDS = np.array([[0, 300, 846], [65535, 1, 0]], np.uint16)


def test_palette_labels_are_read_as_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(IDS, mode="P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(tmp_path / "label.png")
    assert Image.open(tmp_path / "label.png").mode == "P"
    np.testing.assert_array_equal(read_label(str(tmp_path / "label.png")), IDS)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("ids", [IDS, WIDE_IDS], ids=["8 bit", "16 bit"])
def test_labels_keep_their_ids(tmp_path: Path, ending: str, ids: np.ndarray) -> None:
    path = str(tmp_path / f"label.{ending}")
    Image.fromarray(ids).save(path)
    label = read_label(path)
    assert label.dtype == np.int64
    np.testing.assert_array_equal(label, ids)
    assert read_label(path, dtype=np.int32).dtype == np.int32


def test_label_with_colours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "label.png"
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(path)
    with pytest.raises(BadFileError, match=r"label\.png: found .*\(2, 3, 3\).* wanted \(H, W\) class ids"):
        read_label(str(path))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_every_kind_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[None], 8, axis=0)
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = str(tmp_path / "picture.tif")
    picture.save(path)
    assert Image.open(path).mode == mode
    image = read_image(path)
    assert (image.shape, image.dtype) == ((8, 16, 3), np.uint8)
    if mode not in ("1", "P"):  # which have not 16 greys
        np.testing.assert_allclose(image, np.repeat(grey[:, :, None], 3, axis=2), atol=1)
    assert image[:, 0].max() < 10
    assert image[:, -1].min() > 245


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    upright = np.zeros((8, 12, 3), np.uint8)
    upright[:4, :6] = 255
    exif = Image.Exif()
    exif[274] = 6  # "turn by 90 degrees to the right to see it upright"
    path = str(tmp_path / "picture.png")
    Image.fromarray(np.rot90(upright)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)


def test_bgr(tmp_path: Path) -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    Image.fromarray(image).save(tmp_path / "picture.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "picture.png"), "BGR"), image[:, :, ::-1])


@pytest.mark.parametrize("read", [read_image, read_label])
@pytest.mark.parametrize("fault", ["missing", "empty", "text", "truncated"])
def test_broken_files_are_named(tmp_path: Path, read: object, fault: str) -> None:
    path = tmp_path / "broken.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    if fault == "truncated":
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif fault != "missing":
        path.write_text("" if fault == "empty" else "not a picture")
    with pytest.raises(BadFileError, match=r"broken\.png: wanted a readable image, found"):
        read(str(path))
