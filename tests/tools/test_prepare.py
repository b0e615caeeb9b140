"""Preparation tools: on toy copies of the official layouts, on real files, and on what goes wrong."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icpc_d2.data.reading import read_label
from icpc_d2.tools.prepare.command import SETS, main

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real pictures are not there: {SHARED}")


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A root with three training pairs of CamVid and no other split."""
    rng = np.random.default_rng(0)
    for k in range(3):
        save(tmp_path / "CamVid/train" / f"f{k}.png", rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        save(tmp_path / "CamVid/trainannot" / f"f{k}.png", rng.integers(0, 12, (6, 8), dtype=np.uint8))
    return tmp_path


def run(name: str, root: Path, *arguments: str) -> int:
    return main([name, "--root", str(root), "--workers", "2", *arguments])


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_void_becomes_255_and_the_rest_stays(camvid: Path) -> None:
    assert run("camvid", camvid) == 0
    for k in range(3):
        before = read_label(str(camvid / "CamVid/trainannot" / f"f{k}.png"))
        after = read_label(str(camvid / "camvid_detectron2/annotations/train" / f"f{k}.png"))
        np.testing.assert_array_equal(after, np.where(before == 11, 255, before))
        picture = camvid / "camvid_detectron2/images/train" / f"f{k}.png"
        assert picture.read_bytes() == (camvid / "CamVid/train" / f"f{k}.png").read_bytes()


def test_ade20k_ids_are_shifted(tmp_path: Path) -> None:
    folder = tmp_path / "ADEChallengeData2016"
    save(folder / "annotations/validation/a.png", np.array([[0, 1, 150]], np.uint8))
    save(folder / "images/validation/a.jpg", np.zeros((1, 3, 3), np.uint8))
    assert run("ade20k", tmp_path) == 0
    prepared = read_label(str(folder / "annotations_detectron2/validation/a.png"))
    np.testing.assert_array_equal(prepared, [[255, 0, 149]])


def test_second_run_does_nothing(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("camvid", camvid)
    before = snapshot(camvid)
    capsys.readouterr()
    assert run("camvid", camvid) == 0
    assert snapshot(camvid) == before
    assert "train: 0 files made, 6 were there already" in capsys.readouterr().out


def test_interrupted_run_is_continued(camvid: Path) -> None:
    run("camvid", camvid)
    whole = {name: content for name, (_, content) in snapshot(camvid).items()}
    folder = camvid / "camvid_detectron2/annotations/train"
    (folder / "f1.png").unlink()
    (folder / ".tmp-123-f1.png").write_bytes(b"half")
    assert run("camvid", camvid) == 0
    assert {name: content for name, (_, content) in snapshot(camvid).items()} == whole


def test_incomplete_data_is_a_warning_and_with_strict_an_error(
    camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("camvid", camvid) == 0
    messages = capsys.readouterr().err
    assert "warning: train: 3 pairs, the official data set has 367." in messages
    assert "warning: val: skipped, nothing in" in messages
    assert run("camvid", camvid, "--strict") == 1
    assert "error: train: 3 pairs" in capsys.readouterr().err


def test_images_without_labels_are_named(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (camvid / "CamVid/trainannot/f2.png").unlink()
    assert run("camvid", camvid) == 0
    assert "train: 1 images without a label map, which will not be used: f2." in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["ids", "truncated"])
def test_bad_files_are_named_and_the_others_done(camvid: Path, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    bad = camvid / "CamVid/trainannot/f1.png"
    if fault == "ids":
        save(bad, np.full((6, 8), 12, np.uint8))
    else:
        bad.write_bytes(bad.read_bytes()[:50])
    assert run("camvid", camvid) == 1
    message = capsys.readouterr().err
    assert "error: train: " in message
    assert str(bad) in message
    assert ("found the ids [12], wanted 0..11." in message) == (fault == "ids")
    assert sorted(os.listdir(camvid / "camvid_detectron2/annotations/train")) == ["f0.png", "f2.png"]


def test_check_reads_what_was_prepared(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("camvid", camvid)
    shutil.rmtree(camvid / "CamVid")  # not needed any more
    before = snapshot(camvid)
    assert run("camvid", camvid, "--check") == 0
    assert "train: 3 of 3 label maps are good" in capsys.readouterr().out
    assert snapshot(camvid) == before
    save(camvid / "camvid_detectron2/annotations/train/f0.png", np.full((6, 8), 11, np.uint8))
    assert run("camvid", camvid, "--check") == 1
    assert "f0.png: found the ids [11], wanted 0..10 or 255" in capsys.readouterr().err


def test_check_converts_nothing(camvid: Path) -> None:
    assert run("camvid", camvid, "--check") == 0
    assert not (camvid / "camvid_detectron2").exists()


@pytest.mark.parametrize("name", SETS)
def test_missing_data_says_where_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(name, tmp_path) == 1
    message, preparation = capsys.readouterr().err, SETS[name]
    for expected in (preparation.page, preparation.archive, str(tmp_path / preparation.folder), "GB"):
        assert expected in message
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_are_no_labels(camvid: Path) -> None:
    (camvid / "CamVid/trainannot/._f0.png").write_bytes(b"what macOS leaves in archives")
    assert run("camvid", camvid) == 0


def test_missing_files_are_named_where_their_names_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ADEChallengeData2016"
    for stem in ("ADE_val_00000002", "mine"):
        save(folder / f"annotations/validation/{stem}.png", np.zeros((2, 3), np.uint8))
        save(folder / f"images/validation/{stem}.jpg", np.zeros((2, 3, 3), np.uint8))
    assert run("ade20k", tmp_path) == 0
    message = capsys.readouterr().err
    assert "validation: 2 pairs, the official data set has 2000; missing: ADE_val_00000001, ADE_val_00000003" in message
    assert "not official: mine." in message


def test_the_wrong_download_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ADE20K_2021_17_01/images/ADE").mkdir(parents=True)
    assert run("ade20k", tmp_path) == 1
    assert f"{tmp_path / 'ADE20K_2021_17_01'} is the full ADE20K (for 847 classes: " in capsys.readouterr().err


def test_a_split_without_labels_is_skipped(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(camvid / "CamVid/test/f9.png", np.zeros((6, 8, 3), np.uint8))
    assert run("camvid", camvid) == 0
    assert "warning: test: skipped, nothing in" in capsys.readouterr().err
    assert not (camvid / "camvid_detectron2/images/test").exists()


def test_help_lists_the_sets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.split("\nsets:\n")[1].splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, SETS[name].name] for name in SETS]


def test_tiles_that_overlap_wholly_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("isaid", tmp_path, "--tile", "64", "--overlap", "64")
    assert "--overlap is 64; wanted 0..63, less than --tile." in capsys.readouterr().err
