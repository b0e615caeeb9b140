"""A folder with images, labels and classes.txt is a data set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.config import add_icpc_config
from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.class_matching import class_order, label_code_of
from icpc_d2.data.folders import register_folder_dataset, register_folders
from icpc_d2.data.reading import BadFileError, read_label
from icpc_d2.evaluation import build_evaluator

COLORS = {0: (10, 20, 30), 1: (200, 0, 0), 255: (255, 255, 255)}
LABEL = np.array([[0, 0, 1], [1, 255, 1]], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Two training pairs and one for validation of the classes "sky" and "road"."""
    folder = tmp_path / "mine"
    for split, stems in (("train", ("a", "b")), ("val", ("c",))):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for stem in stems:
            Image.new("RGB", (3, 2)).save(folder / "images" / split / f"{stem}.JPG", format="JPEG")
            Image.fromarray(LABEL).save(folder / "labels" / split / f"{stem}.png")
    (folder / "classes.txt").write_text("\ufeffsky\nroad\n", encoding="utf-8")
    before = set(DatasetCatalog.list())
    yield folder
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def paint(label: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array([[COLORS[int(k)] for k in row] for row in label], np.uint8))


def in_color(folder: Path) -> None:
    for file in (folder / "labels").rglob("*.png"):
        paint(LABEL).save(file)
    (folder / "classes.txt").write_text("sky | 10 20 30\nroad | 200 0 0\nignore | 255 255 255\n")


def test_several_names_of_a_class_are_names_for_prompts_and_for_matching(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky\nroad, street\n")
    register_folder_dataset("several", folder, "train")
    metadata = MetadataCatalog.get("several")
    assert metadata.stuff_classes == metadata.prompt_classes == ["sky", "road"]
    assert metadata.prompt_synonyms == [(), ("street",)]
    (folder / "classes.txt").write_text("street\nsky\n")
    register_folder_dataset("renamed", folder, "val")
    assert class_order("renamed", training_set="several") == [1, 0]


def test_a_folder_is_a_data_set(folder: Path) -> None:
    names = (f"folder:{folder}/train", f"folder:{folder}/val/", "camvid_sem_seg_train")
    register_folders(names)
    register_folders(names)  # a second time changes nothing
    metadata = MetadataCatalog.get(names[0])
    assert metadata.stuff_classes == metadata.prompt_classes == ["sky", "road"]
    assert (metadata.ignore_label, metadata.evaluator_type) == (255, "sem_seg")
    pairs = DatasetCatalog.get(names[0])
    assert [Path(pair["file_name"]).name for pair in pairs] == ["a.JPG", "b.JPG"]
    assert [Path(pair["sem_seg_file_name"]).name for pair in pairs] == ["a.png", "b.png"]
    assert len(DatasetCatalog.get(names[1])) == 1


def test_more_than_255_classes_have_16_bit_labels(folder: Path) -> None:
    (folder / "classes.txt").write_text("\n".join(f"class {k}" for k in range(256)))
    register_folder_dataset("many", folder, "val")
    assert MetadataCatalog.get("many").ignore_label == 65535


def test_labels_in_colour_are_read_by_the_colours_of_the_classes(folder: Path) -> None:
    in_color(folder)
    name = f"folder:{folder}/train"
    register_folders([name])
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (name,)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SCALE_RANGE, cfg.INPUT.CROP.ENABLED = (2,), [1.0, 1.0], False
    cfg.INPUT.RANDOM_FLIP = "none"
    (sample, _) = DatasetCatalog.get(name)
    np.testing.assert_array_equal(SemSegDatasetMapper(cfg, True)(sample)["sem_seg"], LABEL)
    (evaluator,) = build_evaluator(cfg, name)._evaluators
    np.testing.assert_array_equal(evaluator.read_label(sample["sem_seg_file_name"]), LABEL)
    Image.new("RGB", (3, 2), (1, 2, 3)).save(sample["sem_seg_file_name"])
    with pytest.raises(BadFileError, match=r"a\.png: found the colours \(r g b\) \(1 2 3\), wanted those of the 3"):
        SemSegDatasetMapper(cfg, True)(sample)


def test_two_classes_of_one_colour_are_read_by_their_ids(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky | 1 2 3\nroad | 1 2 3\n")
    name = f"folder:{folder}/train"
    register_folders([name])
    assert MetadataCatalog.get(name).stuff_colors == [(1, 2, 3)] * 2
    label = read_label(DatasetCatalog.get(name)[0]["sem_seg_file_name"], code=label_code_of(name))
    np.testing.assert_array_equal(label, LABEL)


@pytest.mark.parametrize("missing", ["classes.txt", "labels/val", "images/val"])
def test_what_is_missing_is_named(folder: Path, missing: str) -> None:
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"lacks {folder / missing}\\. Wanted below .*classes.txt"):
        register_folders([f"folder:{folder}/val"])


def test_folders_without_pairs_are_refused(folder: Path) -> None:
    (folder / "labels/val/c.png").rename(folder / "labels/val/d.png")
    register_folders([f"folder:{folder}/val"])
    with pytest.raises(ValueError, match="found 1 images in .* and 1 label maps .* no image has a label map"):
        DatasetCatalog.get(f"folder:{folder}/val")


def test_two_pictures_of_one_stem_are_refused(folder: Path) -> None:
    Image.new("RGB", (3, 2)).save(folder / "images/val/c.png")
    register_folders([f"folder:{folder}/val"])
    with pytest.raises(ValueError, match=r"same stem: .*c\.JPG, .*c\.png"):
        DatasetCatalog.get(f"folder:{folder}/val")
