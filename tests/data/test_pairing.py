"""Files are paired where the rule is clear, and all others are counted and named."""

import logging
import os
from pathlib import Path

import pytest

from icpc_d2.data.folders import load_folder
from icpc_d2.data.pairing import pair_files


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "images", tmp_path / "labels"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(pairs: list) -> list[tuple[str, str, str]]:
    return [(pair.name, pair.image.name, pair.label.name) for pair in pairs]


def test_nested_folders_beside_flat_files(folders: tuple[Path, Path]) -> None:
    touch(folders[0], "a.jpg", "town/a.jpg", "town/b.JPG", "only/c.jpg")
    touch(folders[1], "a.png", "town/a.png", "town/b.png")
    found = pair_files(*folders)
    assert names_of(found.pairs) == [
        ("a", "a.jpg", "a.png"),
        ("town/a", "a.jpg", "a.png"),
        ("town/b", "b.JPG", "b.png"),
    ]
    assert found.left_out == {"images without a label map": [folders[0] / "only/c.jpg"]}


def test_suffixes(folders: tuple[Path, Path]) -> None:
    touch(folders[0], "x/a_leftImg8bit.png", "x/b_leftImg8bit.png")
    touch(folders[1], "x/a_gtFine_labelIds.png", "x/b_gtFine_labelIds.png")
    with pytest.raises(ValueError, match=r"DATASETS.SUFFIXES '\['_leftImg8bit', '_gtFine_labelIds'\]'"):
        load_folder(*folders)
    touch(folders[1], "x/a_gtFine_color.png")
    found = pair_files(*folders, ("_leftImg8bit", "_gtFine_labelIds"))
    assert [pair.name for pair in found.pairs] == ["x/a", "x/b"]
    assert found.left_out == {
        "files without '_leftImg8bit' or '_gtFine_labelIds'": [folders[1] / "x/a_gtFine_color.png"]
    }


def test_a_label_map_may_have_the_whole_name_of_its_image(folders: tuple[Path, Path]) -> None:
    touch(folders[0], "a.jpg", "b.jpg", "c.v2.jpg")
    touch(folders[1], "a.jpg.png", "b.png", "c.v2.png")
    assert names_of(pair_files(*folders).pairs) == [
        ("a", "a.jpg", "a.jpg.png"),
        ("b", "b.jpg", "b.png"),
        ("c.v2", "c.v2.jpg", "c.v2.png"),
    ]
    touch(folders[1], "a.png")
    assert pair_files(*folders).repeated == [[folders[1] / "a.jpg.png", folders[1] / "a.png"]]


def test_names_in_two_forms_of_unicode(folders: tuple[Path, Path]) -> None:
    touch(folders[0], "caf\u00e9.jpg")
    touch(folders[1], "cafe\u0301.png")
    assert len(pair_files(*folders).pairs) == 1


def test_all_that_is_left_out_is_counted_and_named(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    touch(folders[0], "a.jpg", "b.jpg", "scan.heic", "notes.txt", ".hidden.jpg")
    touch(folders[1], "a.png", "c.png")
    os.symlink("nowhere", folders[0] / "gone.jpg")
    os.symlink(folders[0], folders[0] / "round")  # leads in a circle
    with caplog.at_level(logging.WARNING, "icpc_d2"):
        assert len(load_folder(*folders)) == 1
    for words in (
        "1 pairs are used",
        "1 images without a label map are left out: b.jpg",
        "1 label maps without an image are left out: c.png",
        "1 links that lead nowhere are left out: gone.jpg",
        "2 files of kinds that are not read are left out (1 .txt, 1 .heic): notes.txt, scan.heic",
    ):
        assert words in caplog.text


def test_links_to_folders_are_followed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.jpg")
    touch(folders[1], "town/a.png")
    folders[0].mkdir()
    os.symlink(tmp_path / "elsewhere", folders[0] / "town")
    assert [pair.name for pair in pair_files(*folders).pairs] == ["town/a"]
