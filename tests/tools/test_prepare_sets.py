"""Each data set's preparation, on real files where there are any; what it writes is what the registered set reads."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.data import datasets
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.reading import read_image, read_label
from icpc_d2.evaluation.sem_seg import SemSegEvaluator
from icpc_d2.tools.prepare.ade20k import decode
from icpc_d2.tools.prepare.command import main
from icpc_d2.tools.prepare.isaid import boxes_of

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real pictures are not there: {SHARED}")


def borrow(root: Path, folder: str, files: int | None = None) -> Path:
    """Copy a data set's folder below `root`, of each of its folders at most so many files."""
    for source in sorted((SHARED / folder).rglob("*")):
        if source.is_dir():
            (root / source.relative_to(SHARED)).mkdir(parents=True, exist_ok=True)
            for file in sorted(path for path in source.iterdir() if path.is_file())[:files]:
                shutil.copyfile(file, root / file.relative_to(SHARED))
    return root / folder


def prepare(name: str, root: Path) -> None:
    assert main([name, "--root", str(root), "--workers", "1"]) == 0


def pairs_of(root: Path, name: str) -> list[dict[str, str]]:
    """The pairs of a registered set's split, were the data sets below `root`; each label passes the evaluator."""
    for row in datasets.DATASETS:
        for split in row.splits:
            if row.name.format(split) == name:
                pairs = datasets.load_dataset(row, str(root), split)
    metadata = MetadataCatalog.get(name)
    DatasetCatalog.register("evaluated", lambda: pairs)
    MetadataCatalog.get("evaluated").set(stuff_classes=metadata.stuff_classes, ignore_label=metadata.ignore_label)
    try:
        evaluator = SemSegEvaluator("evaluated")
        for pair in pairs:
            label = evaluator.read_label(pair["sem_seg_file_name"])
            assert label.shape == read_image(pair["file_name"]).shape[:2]
    finally:
        DatasetCatalog.remove("evaluated")
        MetadataCatalog.remove("evaluated")
    return pairs


def label_of(pair: dict[str, str]) -> np.ndarray:
    return read_label(pair["sem_seg_file_name"])


@real
def test_camvid(tmp_path: Path) -> None:
    borrow(tmp_path, "CamVid", 3)
    prepare("camvid", tmp_path)
    assert len(pairs_of(tmp_path, "camvid_sem_seg_train")) == 3


@real
def test_ade20k(tmp_path: Path) -> None:
    folder = borrow(tmp_path, "ADEChallengeData2016")
    prepare("ade20k", tmp_path)
    pairs = pairs_of(tmp_path, "ade20k_sem_seg_val")
    assert len(pairs) == 17
    for pair in pairs:
        official = np.array(Image.open(folder / "annotations/validation" / Path(pair["sem_seg_file_name"]).name))
        np.testing.assert_array_equal(label_of(pair), official - np.uint8(1))  # which wraps 0 to 255


@real
def test_ade20k_full(tmp_path: Path) -> None:
    folder = borrow(tmp_path, "ADE20K_2021_17_01")
    prepare("ade20k_full", tmp_path)
    pairs = pairs_of(tmp_path, "ade20k_full_sem_seg_train")
    assert len(pairs) == 2
    train_id = MetadataCatalog.get("ade20k_full_sem_seg_train").stuff_dataset_id_to_contiguous_id
    for pair in pairs:
        (record,) = folder.glob(f"images/**/{Path(pair['file_name']).stem}.json")
        objects = json.loads(record.read_bytes().decode("latin-1"))["annotation"]["object"]
        expected = {item["name_ndx"] for item in objects if item["parts"]["part_level"] == 0}
        official = decode(record.with_name(record.stem + "_seg.png"))
        assert set(np.unique(official)) - {0} == expected
        prepared = label_of(pair)
        assert min(prepared.shape) == 512
        assert set(np.unique(prepared)) <= {train_id.get(number, 65535) for number in {0, *expected}}
        assert Image.open(pair["sem_seg_file_name"]).mode == "I;16"


def write_index(folder: Path, **changes: object) -> None:
    classes = read_class_list("ade20k_full_847")
    names = np.array(["-"] * 3688, dtype=object)
    for name, number in zip(classes.prompt_names, classes.ids, strict=True):
        names[number - 1] = f"another word, {name}"
    index = {"folder": ["x"] * 2, "filename": ["ADE_train_00016869.jpg", "ADE_val_00000007.jpg"], "objectnames": names}
    (folder / "index_ade20k.pkl").write_bytes(pickle.dumps(index | changes))


@real
def test_ade20k_full_with_its_index_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = borrow(tmp_path, "ADE20K_2021_17_01")
    for file in folder.rglob("ADE_train_00016869*"):
        file.unlink()
    write_index(folder)
    prepare("ade20k_full", tmp_path)
    assert "official data set has 25574; missing: ADE_train_00016869; not official: ADE_train_00016900." in (
        capsys.readouterr().err
    )


class Malicious:
    def __reduce__(self) -> tuple:
        return open, ("evil", "w")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"extra": Malicious()}, r"a pickle that is refused: it holds \w+\.open"),
        ({"objectnames": ["wall"] * 3688}, "found 'wall' as number 312, wanted 'building': it is of another release"),
        (None, "a pickle that is refused"),
    ],
    ids=["code", "other release", "damaged"],
)
def test_a_bad_index_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, changes: dict, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_index(tmp_path, **(changes or {}))
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    content = (tmp_path / "index_ade20k.pkl").read_bytes()
    (tmp_path / "ADE20K_2021_17_01/index_ade20k.pkl").write_bytes(content if changes else content[:50])
    assert main(["ade20k_full", "--root", str(tmp_path)]) == 1
    assert re.search(complaint, capsys.readouterr().err)
    assert not (tmp_path / "evil").exists()


def coco_10k(root: Path, ids: np.ndarray, *, v7_3: bool = False, folder: str = "cocostuff-10k-v1.1") -> None:
    for name in ("images", "annotations", "imageLists"):
        (root / folder / name).mkdir(parents=True)
    Image.new("RGB", ids.shape[::-1]).save(root / folder / "images/a.jpg")
    (root / folder / "imageLists/train.txt").write_text("a\n")
    file = root / folder / "annotations/a.mat"
    if v7_3:
        h5py = pytest.importorskip("h5py")
        with h5py.File(file, "w") as mat:
            mat["S"] = ids.T  # as MATLAB stores it
    else:
        scipy.io.savemat(file, {"S": ids, "names": np.array(["x"], dtype=object)})


@pytest.mark.parametrize("v7_3", [False, True], ids=["v5", "v7.3"])
@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([[0, 1, 182], [13, 92, 92]], [[255, 0, 170], [11, 80, 80]]),
        ([[1, 2, 172], [12, 26, 26]], [[255, 0, 170], [10, 24, 24]]),
    ],
    ids=["edition 1.1", "edition 1.0"],
)
def test_coco_stuff_10k_editions_are_told_by_their_values(
    tmp_path: Path, ids: list, expected: list, v7_3: bool
) -> None:
    coco_10k(tmp_path, np.array(ids, np.uint16), v7_3=v7_3)
    prepare("coco_stuff_10k", tmp_path)
    (pair,) = pairs_of(tmp_path, "coco_2017_train_stuff_10k_sem_seg")
    np.testing.assert_array_equal(label_of(pair), expected)


def test_coco_stuff_10k_does_not_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco_10k(tmp_path, np.array([[2, 3, 100]]))
    assert main(["coco_stuff_10k", "--root", str(tmp_path)]) == 1
    assert "1 files, and all their ids occur in v1.0 and in v1.1" in capsys.readouterr().err


def test_ids_of_neither_edition_of_coco_stuff_10k_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco_10k(tmp_path, np.array([[0, 12, 183]]))
    assert main(["coco_stuff_10k", "--root", str(tmp_path)]) == 1
    assert "a.mat: the ids [0, 12, 183] are of neither edition of COCO-Stuff10k." in capsys.readouterr().err


def test_coco_stuff_10k_of_both_editions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco_10k(tmp_path, np.array([[0, 182]]))
    scipy.io.savemat(tmp_path / "cocostuff-10k-v1.1/annotations/b.mat", {"S": np.array([[1, 12]])})
    (tmp_path / "cocostuff-10k-v1.1/imageLists/train.txt").write_text("a\nb\n")
    assert main(["coco_stuff_10k", "--root", str(tmp_path)]) == 1
    assert "b.mat: found the ids [12], wanted 0..11, 13..25" in capsys.readouterr().err


@real
def test_coco_stuff_10k_and_164k_agree(tmp_path: Path) -> None:
    borrow(tmp_path, "cocostuff-10k-v1.1")
    folder = borrow(tmp_path, "cocostuff164k", 2)
    stems = [path.stem for path in (SHARED / "cocostuff-10k-v1.1/images").iterdir()]
    mats = {stem.removeprefix("COCO_train2014_"): stem for stem in stems}
    prepare("coco_stuff_10k", tmp_path)
    small = {
        Path(pair["file_name"]).stem.removeprefix("COCO_train2014_"): label_of(pair)
        for split in ("train", "test")
        for pair in pairs_of(tmp_path, f"coco_2017_{split}_stuff_10k_sem_seg")
    }
    # The 164k label map of the same picture, where its file has it, else as its encoding says: COCO's id - 1.
    for number, stem in mats.items():
        official = scipy.io.loadmat(SHARED / f"cocostuff-10k-v1.1/annotations/{stem}.mat")["S"].astype(np.uint8)
        Image.fromarray(official - np.uint8(1)).save(folder / f"annotations/val2017/{number}.png")
        shutil.copyfile(SHARED / f"cocostuff-10k-v1.1/images/{stem}.jpg", folder / f"images/val2017/{number}.jpg")
    prepare("coco_stuff_164k", tmp_path)
    large = {Path(pair["file_name"]).stem: label_of(pair) for pair in pairs_of(tmp_path, "coco_2017_val_stuff_sem_seg")}
    assert small.keys() == mats.keys()
    names = MetadataCatalog.get("coco_2017_val_stuff_sem_seg").stuff_classes
    for number, label in small.items():
        np.testing.assert_array_equal(label, large[number])
        mat = scipy.io.loadmat(SHARED / f"cocostuff-10k-v1.1/annotations/{mats[number]}.mat")
        theirs = {str(mat["names"][k - 1, 0].item()) for k in np.unique(mat["S"]) if k}  # the file's own list of names
        assert {names[k] for k in np.unique(label) if k != 255} == theirs


@real
def test_voc(tmp_path: Path) -> None:
    folder = borrow(tmp_path, "VOCdevkit/VOC2012")
    prepare("voc", tmp_path)
    with_background, without = (pairs_of(tmp_path, f"voc_2012_{count}_sem_seg_val") for count in (21, 20))
    assert len(with_background) == len(without) == 2
    for ours, theirs in zip(with_background, without, strict=True):
        label = label_of(ours)
        palette = Image.open(folder / "SegmentationClass" / Path(ours["sem_seg_file_name"]).name)
        assert palette.mode == "P"
        np.testing.assert_array_equal(label, np.array(palette))
        assert set(np.unique(label)) <= {*range(21), 255}
        np.testing.assert_array_equal(label_of(theirs), np.where(label % 255 == 0, 255, label - 1))


@pytest.mark.parametrize("list_folder", ["Main", "SegmentationContext"])
def test_pascal_context(tmp_path: Path, list_folder: str) -> None:
    folder = tmp_path / "VOCdevkit/VOC2010"
    for name in ("JPEGImages", "trainval", f"ImageSets/{list_folder}"):
        (folder / name).mkdir(parents=True)
    ids = np.array([[2, 9, 458], [1, 0, 459]], np.uint16)
    Image.new("RGB", (3, 2)).save(folder / "JPEGImages/2008_000002.jpg")
    scipy.io.savemat(folder / "trainval/2008_000002.mat", {"LabelMap": ids})
    (folder / f"ImageSets/{list_folder}/train.txt").write_text("2008_000002\n")
    prepare("pascal_context", tmp_path)
    (pair,) = pairs_of(tmp_path, "pascal_context_59_sem_seg_train")
    np.testing.assert_array_equal(label_of(pair), [[0, 1, 58], [255, 255, 255]])
    (pair,) = pairs_of(tmp_path, "pascal_context_60_sem_seg_train")
    np.testing.assert_array_equal(label_of(pair), [[1, 2, 59], [0, 0, 0]])


@real
def test_cityscapes(tmp_path: Path) -> None:
    folder = borrow(tmp_path, "cityscapes")
    prepare("cityscapes", tmp_path)
    (pair,) = pairs_of(tmp_path, "cityscapes_sem_seg_train")
    assert Path(pair["file_name"]).name == "aachen_000004_000019.png"
    (official,) = folder.glob("gtFine/**/*_labelIds.png")
    classes = read_class_list("cityscapes_19")
    expected = np.full(256, 255)
    expected[classes.ids] = range(19)
    np.testing.assert_array_equal(label_of(pair), expected[read_label(str(official))])


@real
def test_isaid(tmp_path: Path) -> None:
    borrow(tmp_path, "iSAID")
    prepare("isaid", tmp_path)
    (pair,) = pairs_of(tmp_path, "isaid_sem_seg_train")
    whole = label_of(pair)
    assert {"Large_Vehicle", "Small_Vehicle"} == {read_class_list("isaid_16").names[k] for k in np.unique(whole) if k}
    assert main(["isaid", "--root", str(tmp_path), "--workers", "1", "--tile", "512", "--overlap", "100"]) == 0
    tiles = pairs_of(tmp_path, "isaid_tiles_sem_seg_train")
    assert len(tiles) == len(boxes_of(*whole.shape, 512, 100)) > 1
    image = read_image(pair["file_name"])
    for tile in tiles:
        top, bottom, left, right = (int(word) for word in Path(tile["file_name"]).stem.split("_")[1:])
        np.testing.assert_array_equal(label_of(tile), whole[top:bottom, left:right])
        np.testing.assert_array_equal(read_image(tile["file_name"]), image[top:bottom, left:right])


def test_unknown_colours_of_isaid_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "iSAID/val/images"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "P1.png")
    Image.new("RGB", (4, 4), (1, 2, 3)).save(folder / "P1_instance_color_RGB.png")
    assert main(["isaid", "--root", str(tmp_path)]) == 1
    assert "P1_instance_color_RGB.png: found the colours (r g b) (1 2 3)" in capsys.readouterr().err


@pytest.mark.parametrize(("height", "width"), [(5, 7), (10, 10), (11, 30), (300, 17)])
def test_tiles_cover_the_image(height: int, width: int) -> None:
    covered = np.zeros((height, width), bool)
    boxes = boxes_of(height, width, 10, 4)
    assert len(set(boxes)) == len(boxes)
    for top, bottom, left, right in boxes:
        assert (bottom - top, right - left) == (10, 10)
        assert bottom <= max(height, 10)
        assert right <= max(width, 10)
        covered[top:bottom, left:right] = True
    assert covered.all()
