"""Images of more than 8 bits: by their type, by a declared range, or refused; never black without a word."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from icpc_d2.data.pixels import to_8_bit_rgb
from icpc_d2.data.reading import BadFileError, read_image

RAMP = np.repeat(np.linspace(0, 4095, 16)[None], 8, axis=0)  # (8, 16), 12 bits
WANTED = np.repeat((RAMP * 255 / 4095).round().astype(np.uint8)[:, :, None], 3, axis=2)


def save(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32), ("tif", np.float32)]
)
def test_a_declared_range_holds_for_every_type(tmp_path: Path, kind: str, dtype: type) -> None:
    file = save(tmp_path / f"deep.{kind}", RAMP.astype(dtype))
    found = read_image(file, value_range=(0, 4095))
    np.testing.assert_allclose(found, WANTED, atol=1)
    np.testing.assert_array_equal(to_8_bit_rgb(Image.open(file), value_range=(0, 4095)), found)
    shifted = read_image(file, value_range=(1000, 2000))
    assert (shifted[:, 0].max(), shifted[:, -1].min()) == (0, 255)


@pytest.mark.parametrize(("dtype", "name"), [(np.int32, "int32"), (np.float32, "float32")])
def test_types_without_a_white_are_refused(tmp_path: Path, dtype: type, name: str) -> None:
    file = save(tmp_path / "deep.tif", RAMP.astype(dtype))
    with pytest.raises(BadFileError, match=rf"deep\.tif: found an image of the type {name} with values from 0 to 4095"):
        read_image(file)
    with pytest.raises(ValueError, match="INPUT.VALUE_RANGE"):
        to_8_bit_rgb(Image.fromarray(RAMP.astype(dtype)))


@pytest.mark.parametrize("value_range", [(), (0, 1)])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, value_range: tuple) -> None:
    file = save(tmp_path / "nan.tif", np.full((4, 5), np.nan, np.float32))
    with pytest.raises(BadFileError, match=r"nan\.tif: found pixels that are no numbers"):
        read_image(file, value_range=value_range)


def test_empty_upper_bits_are_warned_of(tmp_path: Path) -> None:
    warnings: list[str] = []
    found = read_image(save(tmp_path / "twelve.png", RAMP.astype(np.uint16)), warn=warnings.append)
    np.testing.assert_array_equal(found[..., 0], RAMP.astype(np.uint16) >> 8)
    assert "twelve.png: found no value above 4095 where white is 65535" in warnings[0]
    assert "INPUT.VALUE_RANGE '[0, 4095]'" in warnings[0]
    full = (RAMP * 16).astype(np.uint16)
    read_image(save(tmp_path / "sixteen.png", full), warn=warnings.append)
    read_image(save(tmp_path / "black.png", 0 * full), warn=warnings.append)
    assert len(warnings) == 1


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_colours_of_16_bits(tmp_path: Path, kind: str) -> None:
    file, warnings = str(tmp_path / f"deep.{kind}"), []
    colors = np.stack([RAMP, RAMP[:, ::-1], 0 * RAMP], axis=2).astype(np.uint16)
    cv2.imwrite(file, colors[:, :, ::-1])
    assert Image.open(file).mode == "RGB"
    np.testing.assert_array_equal(read_image(file, warn=warnings.append), colors >> 8)
    assert "the upper bits are empty" in warnings[0]
    found = read_image(file, value_range=(0, 4095))
    np.testing.assert_allclose(found, (colors * (255 / 4095)).round(), atol=1)


def test_a_tiff_of_12_bits_says_so(tmp_path: Path) -> None:
    """Packed by hand, since Pillow reads but does not write it: two values in three bytes."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    values = RAMP.astype(np.uint16).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    data = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    tags = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in {256: 16, 257: 8, 258: 12, 259: 1, 262: 1, 277: 1, 278: 8, 279: len(data)}.items():
        tags[tag] = value
    tags[273] = 0  # right behind the tags
    (tmp_path / "twelve.tif").write_bytes(b"II*\0" + (8).to_bytes(4, "little") + tags.tobytes(8) + data)
    np.testing.assert_allclose(read_image(str(tmp_path / "twelve.tif")), WANTED, atol=1)


def test_a_graymap_states_its_own_white(tmp_path: Path) -> None:
    header = b"P5 16 8 4095\n"
    (tmp_path / "deep.pgm").write_bytes(header + RAMP.astype(">u2").tobytes())
    np.testing.assert_allclose(read_image(str(tmp_path / "deep.pgm")), WANTED, atol=1)
