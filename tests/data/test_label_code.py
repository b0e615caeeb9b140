"""What label files mean: by colours and ids of a class list whatever the kind of file, or refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.reading import BadFileError, read_image, read_label

IDS = np.array([[0, 0, 1, 1], [2, 255, 1, 2]], np.uint8)
COLORS = {0: (10, 20, 30), 1: (200, 0, 0), 2: (0, 90, 0), 255: (255, 255, 255)}
COLOR_LIST = "sky | 10 20 30\nroad | 200 0 0\ntree | 0 90 0\nignore | 255 255 255\n"


def paint(ids: np.ndarray) -> np.ndarray:
    return np.array([[COLORS[int(k)] for k in row] for row in ids], np.uint8)


def with_palette(indices: np.ndarray, colors: dict[int, tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(indices, "P")
    palette = np.zeros((256, 3), np.uint8)
    for index, color in colors.items():
        palette[index] = color
    image.putpalette(palette.ravel().tolist())
    return image


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Read a label map by a class list: ``read(image, text)``."""

    def read_one(image: Image.Image | np.ndarray, text: str, kind: str = "png", **options: object) -> np.ndarray:
        (tmp_path / "classes.txt").write_text(text)
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / f"label.{kind}", **options)
        classes = read_class_list(tmp_path / "classes.txt")
        return read_label(str(tmp_path / f"label.{kind}"), code=classes.label_code(255))

    return read_one


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_read_in_every_kind_of_file(read: Callable[..., np.ndarray], mode: str) -> None:
    image = Image.fromarray(paint(IDS))
    if mode == "RGBA":
        image.putalpha(255)
    if mode == "P":
        image = image.quantize(8)  # indices of its own
    np.testing.assert_array_equal(read(image, COLOR_LIST), IDS)


def test_a_palette_against_the_colours_is_read_by_its_colours(read: Callable[..., np.ndarray]) -> None:
    swapped = np.array([2, 0, 1], np.uint8)[IDS.clip(max=2)]
    colors = {2: COLORS[0], 0: COLORS[1], 1: COLORS[2]}
    np.testing.assert_array_equal(read(with_palette(swapped, colors), COLOR_LIST), IDS.clip(max=2))


def test_a_palette_of_other_colours_is_refused(read: Callable[..., np.ndarray]) -> None:
    image = with_palette(IDS, {0: (1, 2, 3), 1: (4, 5, 6), 2: (7, 8, 9), 255: (1, 1, 1)})
    with pytest.raises(BadFileError, match=r"label\.png: found a palette of .*\(1 2 3\).*Without colours"):
        read(image, COLOR_LIST)
    np.testing.assert_array_equal(read(image, "sky\nroad\ntree"), IDS)
    np.testing.assert_array_equal(read(image, "sky | 9 9 9 | | 0\nroad | 8 8 8 | | 1\ntree | 7 7 7 | | 2"), IDS)


def test_a_palette_whose_ids_contradict_its_colours_is_refused(read: Callable[..., np.ndarray]) -> None:
    with pytest.raises(BadFileError, match=r"value 0 in the colour .*\(200 0 0\): by the ids .* class 0, .* class 1"):
        read(with_palette(np.zeros((2, 2), np.uint8), {0: COLORS[1]}), "sky | 10 20 30 | | 0\nroad | 200 0 0 | | 1")


def test_void_of_a_palette_is_ignored_whatever_its_colour(read: Callable[..., np.ndarray]) -> None:
    image = with_palette(IDS, COLORS | {255: (224, 224, 192)})
    np.testing.assert_array_equal(read(image, COLOR_LIST.replace("255 255 255", "0 0 0")), IDS)


def test_black_and_white_masks_by_colours_and_by_ids(read: Callable[..., np.ndarray]) -> None:
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    for text in ("rest | 0 0 0\ncrack | 255 255 255", "rest | | | 0\ncrack | | | 255"):
        for image in (Image.fromarray(mask), Image.fromarray(mask).convert("1"), Image.fromarray(mask).convert("P")):
            np.testing.assert_array_equal(read(image, text), mask == 255)
    # Without either 255 is ignored, and a bit is a class.
    np.testing.assert_array_equal(read(mask, "rest\ncrack"), mask)
    np.testing.assert_array_equal(read(Image.fromarray(mask).convert("1"), "rest\ncrack"), mask == 255)
    with pytest.raises(BadFileError, match=r"found the values \[1\], wanted those that the class list has: 0, 255"):
        read(mask // 255, "rest | 0 0 0\ncrack | 255 255 255")


def test_ids_of_the_class_list_are_applied(read: Callable[..., np.ndarray]) -> None:
    text = "sky | | | 7\nroad | | | 300\nignore | | | 0\nignore | | | 12"
    values = np.array([[7, 300], [0, 12], [255, 65535]], np.uint16)
    np.testing.assert_array_equal(read(values, text), [[0, 1], [255, 255], [255, 255]])
    with pytest.raises(
        BadFileError, match=r"found the values \[1, 8\], .*0, 7, 12, 255, 300, 65535.*'ignore \| \| \| 1'"
    ):
        read(np.array([[7, 8, 1]], np.uint16), text)


def test_zero_is_unlabelled(read: Callable[..., np.ndarray]) -> None:
    np.testing.assert_array_equal(read(np.array([[0, 1, 2]], np.uint8), "ignore | | | 0\nsky\nroad"), [[255, 0, 1]])
    np.testing.assert_array_equal(read(np.array([[0, 1, 2]], np.uint8), "sky\nroad\nignore | | | 1"), [[0, 255, 1]])


def test_two_classes_of_one_colour_have_ids(read: Callable[..., np.ndarray]) -> None:
    text = "sky | 1 2 3\nroad | 1 2 3\ntree | 0 90 0"
    np.testing.assert_array_equal(read(IDS, text), IDS)
    np.testing.assert_array_equal(read(with_palette(IDS, {0: (1, 2, 3), 1: (1, 2, 3), 2: COLORS[2]}), text), IDS)
    with pytest.raises(BadFileError, match=r"\(1 2 3\) is that of the classes 0, 1 alike: give each a colour"):
        read(np.full((2, 2, 3), (1, 2, 3), np.uint8), text)


def test_a_grey_file_among_coloured_ones(read: Callable[..., np.ndarray]) -> None:
    """What a program makes of a file in colour that has nothing but grey in it."""
    text = "sky | 10 20 30\nroad | 128 128 128\ntree | 0 0 0"
    np.testing.assert_array_equal(read(np.full((2, 2), 128, np.uint8), text), np.ones((2, 2)))
    np.testing.assert_array_equal(read(IDS, text), IDS)  # 1 is no grey of the list
    with pytest.raises(BadFileError, match=r"values \[0\]: as ids .* \[0\], by the colours .* \[2\]"):
        read(np.zeros((2, 2), np.uint8), text)
    text = "sky | 10 20 30 | | 0\nroad | 128 128 128 | | 1\ntree | 0 0 0 | | 2"
    np.testing.assert_array_equal(read(np.zeros((2, 2), np.uint8), text), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("image", "kind", "options", "complaint"),
    [
        (Image.fromarray(IDS), "jpg", {}, "a JPEG, which changes the values"),
        (Image.fromarray(IDS.astype(np.float32)), "tif", {}, r"of the kind F \(float32\)"),
        (Image.fromarray(paint(IDS)).convert("CMYK"), "tif", {}, "of the kind CMYK"),
        (
            Image.fromarray(IDS),
            "tif",
            {"save_all": True, "append_images": [Image.fromarray(IDS)]},
            "2 label maps in one",
        ),
        (Image.merge("LA", [Image.fromarray(IDS)] * 2), "png", {}, "pixels that are transparent"),
        (Image.fromarray(paint(IDS)).convert("RGBA").copy(), "png", {}, None),
    ],
    ids=["JPEG", "float", "CMYK", "stack", "transparent", "opaque"],
)
def test_kinds_that_are_refused(
    read: Callable[..., np.ndarray], image: Image.Image, kind: str, options: dict, complaint: str | None
) -> None:
    if complaint is None:
        np.testing.assert_array_equal(read(image, COLOR_LIST, kind, **options), IDS)
        return
    with pytest.raises(BadFileError, match=rf"label\.{kind}: .*{complaint}"):
        read(image, COLOR_LIST, kind, **options)


def test_ids_follow_another_order_of_classes(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(COLOR_LIST)
    code = read_class_list(tmp_path / "classes.txt").label_code(255).ordered([2, 0, 1])
    Image.fromarray(paint(IDS)).save(tmp_path / "label.png")
    found = read_label(str(tmp_path / "label.png"), code=code)
    np.testing.assert_array_equal(found, [[2, 2, 0, 0], [1, 255, 0, 1]])


def test_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow would read their upper 8 bits: ids below 256 would all be black."""
    cv2.imwrite(str(tmp_path / "label.png"), np.repeat(IDS.astype(np.uint16)[..., None], 3, axis=2))
    (tmp_path / "classes.txt").write_text("sky | 0 0 0\nroad | 1 1 2")
    code = read_class_list(tmp_path / "classes.txt").label_code(255)
    with pytest.raises(BadFileError, match=r"label\.png: .*colours of 16 bits"):
        read_label(str(tmp_path / "label.png"), code=code)


def tiff(bits: int, white: int, data: bytes) -> bytes:
    """A TIFF of 4 x 2 pixels; `white` is its PhotometricInterpretation, 0 for white as 0."""
    tags = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in {256: 4, 257: 2, 258: bits, 259: 1, 262: white, 277: 1, 278: 2, 279: len(data)}.items():
        tags[tag] = value
    tags[273] = 0  # right behind the tags
    return b"II*\0" + (8).to_bytes(4, "little") + tags.tobytes(8) + data


def png_of_4_bits(rows: list[bytes]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, len(rows), 4, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.png", png_of_4_bits([b"\x01\x23", b"\x45\x60"]), "4 bits per pixel"),
        ("a.tif", tiff(4, 1, b"\x01\x23\x45\x60"), "4 bits per pixel"),
        ("a.tif", tiff(8, 0, bytes(range(8))), "a white of 0"),
        ("a.pgm", b"P5 4 2 7\n" + bytes(range(8)), "a white of 7"),
        ("a.pgm", b"P2 4 2 7\n0 1 2 3 4 5 6 7", "a white of 7"),
    ],
)
def test_values_that_pillow_changes_are_refused(name: str, content: bytes, complaint: str, tmp_path: Path) -> None:
    """It makes shades of them: of class 1 among 4 bits 17, of the last one 255, which is ignored."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFileError, match=rf"{name}: .*a label map with {complaint}.*: save it with 8 bits"):
        read_label(str(tmp_path / name))
    read_image(str(tmp_path / name))  # of an image, shades are meant


@pytest.mark.parametrize(
    ("name", "content"), [("a.tif", tiff(8, 1, bytes(range(8)))), ("a.pgm", b"P5 4 2 255\n" + bytes(range(8)))]
)
def test_values_that_pillow_leaves_alone(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(read_label(str(tmp_path / name)), np.arange(8).reshape(2, 4))
