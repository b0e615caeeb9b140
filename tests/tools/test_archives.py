"""Archives: what is needed arrives whole, what is hostile or of another data set does not."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icpc_d2.tools.prepare.archives import Archive, unpack
from icpc_d2.tools.prepare.command import main

ARCHIVE = Archive("set*.zip", "set", ("images",), (".txt",))


def write_zip(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def unpack_here(root: Path, archive: Archive = ARCHIVE) -> None:
    unpack([archive], root, "set", {})


def test_only_what_is_needed_is_unpacked_whatever_folder_is_around_it(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "set-1.zip",
        {
            "top/images/a/1.txt": b"1",
            "top/readme.txt": b"",
            "top/images/2.png": b"",
            "__MACOSX/top/images/._1.txt": b"",
        },
    )
    unpack_here(tmp_path)
    assert files(tmp_path / "set") == {"images/a/1.txt", ".set-1.zip.unpacked"}


@pytest.mark.parametrize("name", ["images/../../evil.txt", "../images/../../evil.txt", "images/a/../../../evil.txt"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    write_zip(tmp_path / "set.zip", {name: b"evil", "images/good.txt": b"good"})
    unpack_here(tmp_path)
    assert files(tmp_path) == {"set.zip", "set/images/good.txt", "set/.set.zip.unpacked"}


def test_absolute_names_stay_inside(tmp_path: Path) -> None:
    write_zip(tmp_path / "set.zip", {f"{tmp_path}/elsewhere/images/a.txt": b""})
    unpack_here(tmp_path)
    assert files(tmp_path) == {"set.zip", "set/images/a.txt", "set/.set.zip.unpacked"}


def test_links_in_tar_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("content")
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "images/a.txt")
        link = tarfile.TarInfo("images/b.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    unpack_here(tmp_path, Archive("set.tar.gz", "set", ("images",)))
    assert (tmp_path / "set/images/a.txt").read_text() == "content"
    assert not (tmp_path / "set/images/b.txt").is_symlink()


def test_half_unpacked_files_are_completed_and_a_second_time_does_nothing(tmp_path: Path) -> None:
    write_zip(tmp_path / "set.zip", {"images/a.txt": b"whole", "images/b.txt": b"b"})
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/images/a.txt").write_bytes(b"wh")
    (tmp_path / "set/images/.tmp-7-b.txt").write_bytes(b"")
    unpack_here(tmp_path)
    assert (tmp_path / "set/images/a.txt").read_bytes() == b"whole"
    assert files(tmp_path / "set/images") == {"a.txt", "b.txt"}
    (tmp_path / "set/images/a.txt").unlink()  # to free the disk: what is done is done
    unpack_here(tmp_path)
    assert files(tmp_path / "set/images") == {"b.txt"}


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_damaged_archives_are_named(tmp_path: Path, content: bytes | str) -> None:
    file = write_zip(tmp_path / "set.zip", {f"images/{k}.txt": b"content" for k in range(20)})
    file.write_bytes(file.read_bytes()[:500] if content == "cut" else content)
    with pytest.raises(ValueError, match=r"set\.zip: found a damaged archive"):
        unpack_here(tmp_path)


def test_a_prepared_set_from_its_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.array([[0, 150]], np.uint8)).save(tmp_path / "label.png")
    Image.new("RGB", (2, 1)).save(tmp_path / "picture.jpg")
    name = "ADEChallengeData2016/{}/validation/ADE_val_00000001"
    write_zip(
        tmp_path / "ADEChallengeData2016.zip",
        {
            name.format("annotations") + ".png": (tmp_path / "label.png").read_bytes(),
            name.format("images") + ".jpg": (tmp_path / "picture.jpg").read_bytes(),
        },
    )
    assert main(["ade20k", "--root", str(tmp_path)]) == 0
    prepared = tmp_path / (name.format("annotations_detectron2") + ".png")
    np.testing.assert_array_equal(Image.open(prepared), [[255, 149]])
    assert "validation: 1 files made" in capsys.readouterr().out


def test_another_data_set_under_this_ones_name_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_zip(tmp_path / "ADEChallengeData2016.zip", {"ADE20K_2021_17_01/images/ADE/training/a.jpg": b""})
    assert main(["ade20k", "--root", str(tmp_path)]) == 1
    assert "ADEChallengeData2016.zip holds ADE20K_2021_17_01/images/ADE/training/a.jpg: this is the full ADE20K" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "ADEChallengeData2016").exists()
