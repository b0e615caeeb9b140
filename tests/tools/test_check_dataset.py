"""The checker finds each fault that is planted in a clean CamVid, names the file, and is silent without one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.data.class_list import CLASS_LISTS
from icpc_d2.tools.check_dataset import command as check_dataset
from icpc_d2.tools.prepare.command import main as prepare

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared CamVid of a dozen pairs, real ones where there are any, as images/val, labels/val and classes.txt."""
    root = tmp_path_factory.mktemp("camvid")
    for folder in ("val", "valannot"):
        (root / "CamVid" / folder).mkdir(parents=True)
    if SHARED.is_dir():
        for source in sorted((SHARED / "CamVid/valannot").iterdir())[::4]:
            shutil.copyfile(source, root / "CamVid/valannot" / source.name)
            shutil.copyfile(SHARED / "CamVid/val" / source.name, root / "CamVid/val" / source.name)
    else:
        rng = np.random.default_rng(0)
        for k in range(12):
            Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(root / f"CamVid/val/{k:02d}.png")
            Image.fromarray(rng.integers(0, 12, (90, 120), np.uint8)).save(root / f"CamVid/valannot/{k:02d}.png")
    assert prepare(["camvid", "--root", str(root), "--workers", "1"]) == 0
    shutil.move(root / "camvid_detectron2/annotations", root / "camvid_detectron2/labels")
    shutil.copyfile(CLASS_LISTS / "camvid_11.txt", root / "camvid_detectron2/classes.txt")
    return root / "camvid_detectron2"


@pytest.fixture
def copy(camvid: Path, tmp_path: Path) -> Path:
    return shutil.copytree(camvid, tmp_path / "copy", copy_function=shutil.copyfile)


def check(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    folders = ["--images", str(folder / "images/val"), "--labels", str(folder / "labels/val")]
    status = check_dataset.main([*folders, "--classes", str(folder / "classes.txt"), "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def nth(folder: Path, k: int) -> Path:
    return sorted(folder.iterdir())[k]


def remove_label(folder: Path) -> Path:
    nth(folder / "labels/val", 1).unlink()
    return nth(folder / "images/val", 1)


def remove_picture(folder: Path) -> Path:
    nth(folder / "images/val", 1).unlink()
    return nth(folder / "labels/val", 1)


def crop_label(folder: Path) -> Path:
    file = nth(folder / "labels/val", 2)
    with Image.open(file) as label:
        label.crop((0, 0, label.width - 1, label.height)).save(file)
    return file


def no_picture(folder: Path) -> Path:
    file = nth(folder / "images/val", 3)
    file.write_text("<html>404 not found</html>")
    return file


def truncate_picture(folder: Path) -> Path:
    file = nth(folder / "images/val", 3)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def truncate_label(folder: Path) -> Path:
    file = nth(folder / "labels/val", 4)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def wrong_id(folder: Path) -> Path:
    file = nth(folder / "labels/val", 5)
    label = np.array(Image.open(file))
    label[3, 4] = 11
    Image.fromarray(label).save(file)
    return file


def label_in_colour(folder: Path) -> Path:
    file = nth(folder / "labels/val", 6)
    Image.open(file).convert("RGB").save(file)
    classes = folder / "classes.txt"  # without colours nothing says which class is meant
    classes.write_text("".join(line.split("|")[0] + "\n" for line in classes.read_text().splitlines()))
    return file


def same_name_twice(folder: Path) -> Path:
    file = nth(folder / "images/val", 7)
    Image.open(file).save(file.with_suffix(".jpg"))
    return file.with_suffix(".jpg")


def repeated_class(folder: Path) -> Path:
    file = folder / "classes.txt"
    file.write_text(file.read_text().replace("car", "sky"))
    return file


def rename(folder: Path, name: str) -> Path:
    file = folder / "classes.txt"
    file.write_text(file.read_text().replace("car ", f"{name} "))
    return Path(name)


def class_never_seen(folder: Path) -> Path:
    with (folder / "classes.txt").open("a") as file:
        file.write("unicorn | 1 2 3\n")
    return Path("unicorn")


def nothing_labelled(folder: Path) -> Path:
    file = nth(folder / "labels/val", 8)
    Image.fromarray(np.full_like(np.array(Image.open(file)), 255)).save(file)
    return file


def converted(mode: str, ending: str = ".png") -> Callable[[Path], Path]:
    def convert(folder: Path) -> Path:
        file = nth(folder / "images/val", 9)
        with Image.open(file) as picture:
            if mode == "I;16":
                picture = Image.fromarray(np.array(picture.convert("L")).astype(np.uint16) * 257)
            else:
                picture = picture.convert(mode)
        file.unlink()
        picture.save(file.with_suffix(ending))
        return file.with_suffix(ending)

    return convert


def turned_by_exif(folder: Path) -> Path:
    file = nth(folder / "images/val", 10)
    exif = Image.Exif()
    exif[274] = 3
    Image.open(file).save(file, exif=exif)
    return file


FAULTS = [
    (remove_label, "errors", "image without label map"),
    (remove_picture, "errors", "label map without image"),
    (crop_label, "errors", "sizes differ"),
    (no_picture, "errors", "unreadable image"),
    (truncate_picture, "errors", "unreadable image"),
    (truncate_label, "errors", "unreadable label map"),
    (wrong_id, "errors", "ids out of range"),
    (label_in_colour, "errors", "unreadable label map"),
    (same_name_twice, "errors", "same name twice"),
    (repeated_class, "errors", "data set"),
    (lambda folder: rename(folder, "a very long name indeed " * 15 + "car"), "errors", "class name"),
    (lambda folder: rename(folder, "Sky") and folder / "classes.txt", "errors", "data set"),
    (class_never_seen, "warnings", "class never seen"),
    (nothing_labelled, "warnings", "nothing labelled"),
    (converted("L"), "warnings", "image grey"),
    (converted("RGBA"), "warnings", "image with transparency"),
    (converted("CMYK", ".tif"), "warnings", "image CMYK"),
    (converted("I;16"), "warnings", "image 16-bit"),
    (turned_by_exif, "warnings", "image turned by EXIF"),
]


def test_a_clean_data_set_is_passed_in_silence(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = check(camvid, capsys)
    assert (status, report["errors"], report["warnings"]) == (0, [], [])
    assert report["pairs"] == len(list((camvid / "labels/val").iterdir())) >= 12
    labels = [np.array(Image.open(file)) for file in (camvid / "labels/val").iterdir()]
    assert [row["pixels"] for row in report["classes"]] == [sum((x == k).sum() for x in labels) for k in range(11)]
    assert [row["pictures"] for row in report["classes"]] == [sum((x == k).any() for x in labels) for k in range(11)]


@pytest.mark.parametrize(("plant", "severity", "kind"), FAULTS, ids=range(len(FAULTS)))
def test_each_fault_is_found_and_its_file_named(
    copy: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], Path], severity: str, kind: str
) -> None:
    where = plant(copy)
    status, report = check(copy, capsys)
    assert status == (severity == "errors")
    (fault,) = report[severity]
    assert fault["kind"] == kind
    assert Path(fault["where"]) == where or where.name in fault["where"]
    assert fault["message"]
    assert report["warnings" if severity == "errors" else "errors"] == []


def test_all_at_once_as_text(copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for plant in (crop_label, truncate_picture, wrong_id, turned_by_exif, remove_label):
        plant(copy)
    folders = ["--images", str(copy / "images/val"), "--labels", str(copy / "labels/val")]
    out = tmp_path / "report.json"
    arguments = ["--classes", str(copy / "classes.txt"), "--json", str(out), "--pictures", str(tmp_path / "pictures")]
    assert check_dataset.main([*folders, *arguments]) == 1
    text = capsys.readouterr().out
    for words in ("unreadable image (1)", "sizes differ (1)", "ids out of range (1)", "bicyclist", "% of pixels"):
        assert words in text
    assert len(json.loads(out.read_text())["errors"]) == 4
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert 4 <= len(pictures) <= 6
    height, width, _ = np.array(Image.open(nth(copy / "images/val", 0))).shape
    assert Image.open(pictures[0]).size == (2 * width, height)


def test_registered_and_folder_data_sets_by_name(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"folder:{copy}/val"
    try:
        assert check_dataset.main([name]) == 0
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert "No faults found." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("camvid_sem_seg_vall", "there is no data set of this name. Similar names: camvid_sem_seg_val"),
        ("camvid_sem_seg_val", "Run `icpc prepare camvid`"),
        ("ade20k_sem_seg_val", "Run `icpc prepare ade20k`"),
        ("folder:/nowhere/val", "lacks /nowhere/images/val"),
    ],
)
def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    assert check_dataset.main([name, "--json"]) == 1
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert message in error["message"]


def test_incomplete_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["name", "--images", "x"], ["--images", "x", "--labels", "y"]):
        with pytest.raises(SystemExit):
            check_dataset.main(arguments)
        assert "give the name of a data set, or --images, --labels and --classes" in capsys.readouterr().err
    for ends in (["4095", "0"], ["5", "5"], ["0", "nan"], ["0", "inf"]):
        with pytest.raises(SystemExit):
            check_dataset.main(["name", "--value-range", *ends])
        assert "wanted are the values of black and of white, in this order" in capsys.readouterr().err


def test_data_sets_of_other_tasks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    DatasetCatalog.register("boxes", lambda: [{"file_name": "a.jpg", "annotations": []}])
    try:
        assert check_dataset.main(["boxes"]) == 1
        assert "boxes has no `stuff_classes` in its metadata: wanted is a data set of" in capsys.readouterr().out
        MetadataCatalog.get("boxes").set(stuff_classes=["sky", "road"])
        assert check_dataset.main(["boxes"]) == 1
        assert "boxes has no 'sem_seg_file_name' in its samples" in capsys.readouterr().out
    finally:
        DatasetCatalog.remove("boxes")
        MetadataCatalog.remove("boxes")
