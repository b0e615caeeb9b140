"""Pictures and label maps as broken as disks, cameras and people make them."""

import struct
import zlib
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from PIL import Image

from icpc_d2.data import BadFileError, SemSegDatasetMapper


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """An 8-bit grey PNG that claims this size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["file_name", "sem_seg_file_name"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "wanted a readable image"),
        (b"no image at all", "wanted a readable image"),
        (png(0, 5), "wanted a readable image"),
        (png(5, 0), "wanted a readable image"),
        (png(100_000, 100_000), "wanted a readable image.*exceeds limit"),
        (png(8, 8, b"\0"), "wanted a readable image"),
    ],
    ids=["empty", "text", "no width", "no height", "bomb", "too few pixels"],
)
def test_files_that_are_no_pictures_are_named(
    cfg: CfgNode,
    pair: dict[str, str],
    kind: str,
    content: bytes,
    complaint: str,
) -> None:
    Path(pair[kind]).write_bytes(content)
    with pytest.raises(BadFileError, match=f"(?s){Path(pair[kind]).name}: .*{complaint}"):
        SemSegDatasetMapper(cfg, True)(pair)


@pytest.mark.parametrize("kind", ["file_name", "sem_seg_file_name"])
def test_missing_files_are_named(cfg: CfgNode, pair: dict[str, str], kind: str) -> None:
    Path(pair[kind]).unlink()
    with pytest.raises(BadFileError, match=f"{Path(pair[kind]).name}.*No such file"):
        SemSegDatasetMapper(cfg, True)(pair)


@pytest.mark.parametrize("kind", ["file_name", "sem_seg_file_name"])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_truncated_files_are_named_at_any_length(
    cfg: CfgNode,
    pair: dict[str, str],
    kind: str,
    ending: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / f"whole.{ending}"
    Image.open(pair[kind]).save(path)
    content, mapper = path.read_bytes(), SemSegDatasetMapper(cfg, True)
    pair[kind] = str(tmp_path / f"cut.{ending}")
    for length in range(0, len(content) * 3 // 4, max(1, len(content) // 20)):
        Path(pair[kind]).write_bytes(content[:length])
        with pytest.raises(BadFileError, match=f"cut.{ending}"):
            mapper(pair)


@pytest.mark.parametrize("kind", ["file_name", "sem_seg_file_name"])
def test_postscript_is_refused(cfg: CfgNode, pair: dict[str, str], kind: str) -> None:
    Image.open(pair[kind]).convert("L").save(pair[kind], "EPS")
    with pytest.raises(BadFileError, match="found: PostScript, for which Pillow would start another program"):
        SemSegDatasetMapper(cfg, True)(pair)


def test_a_picture_of_one_pixel_is_trained_on(cfg: CfgNode, pair: dict[str, str]) -> None:
    Image.new("RGB", (1, 1)).save(pair["file_name"])
    Image.new("L", (1, 1)).save(pair["sem_seg_file_name"])
    assert SemSegDatasetMapper(cfg, True)(pair)["image"].shape == (3, *cfg.INPUT.CROP.SIZE)


def test_a_folder_in_the_place_of_a_picture_is_named(cfg: CfgNode, pair: dict[str, str]) -> None:
    Path(pair["file_name"]).unlink()
    Path(pair["file_name"]).mkdir()
    with pytest.raises(BadFileError, match=Path(pair["file_name"]).name):
        SemSegDatasetMapper(cfg, True)(pair)
