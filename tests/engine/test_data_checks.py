"""What is wrong with the data is said before a training starts, with the file, the class and what to do."""

import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from icpc_d2.config.load import ConfigError
from icpc_d2.data.label_code import LabelCode
from icpc_d2.data.survey import survey_labels
from icpc_d2.engine import setup
from icpc_d2.engine.main import main
from icpc_d2.inference.predictor import Predictor
from tests.support.results import read_results
from tests.support.training import arguments, make_data, make_trainer


@pytest.fixture
def data(tmp_path: Path, logs_as_before: None) -> Path:
    return make_data(tmp_path / "data")


def relabel(data: Path, split: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for file in (data / "labels" / split).iterdir():
        Image.fromarray(change(np.array(Image.open(file)))).save(file)


def with_sets(args: Namespace, train: str, test: str) -> Namespace:
    for key, value in (("DATASETS.TRAIN", train), ("DATASETS.TEST", test)):
        args.opts[args.opts.index(key) + 1] = value
    return args


def test_masks_of_0_and_255_are_refused(data: Path, tmp_path: Path) -> None:
    relabel(data, "train", lambda label: np.where(label > 1, 255, 0).astype(np.uint8))
    (data / "classes.txt").write_text("rest\ncrack")
    with pytest.raises(
        ConfigError, match=r"6 label maps show the class 'rest' alone, and \d+ % .*'crack \| \| \| 255'"
    ):
        setup(arguments(data, tmp_path / "output"))
    (data / "classes.txt").write_text("rest | | | 0\ncrack | | | 255")
    relabel(data, "val", lambda label: np.where(label > 1, 255, 0).astype(np.uint8))
    setup(arguments(data, tmp_path / "output"))


def test_a_class_that_never_occurs_is_warned_of(data: Path, tmp_path: Path) -> None:
    (data / "classes.txt").write_text("class 0\nclass 1\nclass 2\nunicorn")
    setup(arguments(data, tmp_path / "output"))
    log = (tmp_path / "output/log.txt").read_text()
    assert "6 of 6 training label maps were looked at. No pixel in them is of 1 of 4 classes: 3 'unicorn'" in log


def test_labels_that_count_from_one(data: Path, tmp_path: Path) -> None:
    relabel(data, "train", lambda label: label + 1)
    with pytest.raises(ConfigError, match=r"\.png: found the ids \[3\] .*classes.txt: 'ignore \| \| \| 0'"):
        setup(arguments(data, tmp_path / "output"))


@pytest.mark.parametrize("is_eval", [False, True])
def test_a_validation_set_without_a_labelled_pixel(data: Path, tmp_path: Path, is_eval: bool) -> None:
    relabel(data, "val", lambda label: np.full_like(label, 255))
    args = arguments(data, tmp_path / "output")
    args.eval_only = is_eval
    with pytest.raises(ConfigError, match=r"DATASETS.TEST: no label map of 'folder:.*' has a labelled pixel"):
        setup(args)


def test_images_without_a_white_are_found(data: Path, tmp_path: Path) -> None:
    for file in sorted((data / "images/train").iterdir()):
        Image.fromarray(np.array(Image.open(file).convert("L")).astype(np.int32) * 9).save(file.with_suffix(".tif"))
        file.unlink()
    with pytest.raises(ValueError, match=r"0\.tif: found an image of the type int32 .* INPUT.VALUE_RANGE"):
        setup(arguments(data, tmp_path / "output"))
    setup(arguments(data, tmp_path / "output", INPUT__VALUE_RANGE="[0, 2295]"))


def test_class_lists_in_another_order_are_mapped_and_others_refused(data: Path, tmp_path: Path) -> None:
    other = make_data(tmp_path / "other")
    (other / "classes.txt").write_text("class 2\nclass 0\nclass 1")
    sets = f"('folder:{data}/train', 'folder:{other}/train')", f"('folder:{other}/val',)"
    cfg = setup(with_sets(arguments(data, tmp_path / "output"), *sets))
    assert list(cfg.MODEL.CLASS_NAMES) == ["class 0", "class 1", "class 2"]
    assert "in another order: they are mapped by name" in (tmp_path / "output/log.txt").read_text()
    (other / "classes.txt").write_text("class 2\nclass 0\nunicorn")
    with pytest.raises(ValueError, match=r"other/train' has other classes .*: 2: 'unicorn' -> 'class 1'"):
        setup(with_sets(arguments(data, tmp_path / "b"), sets[0], "()"))


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("('folder:{0}/train')", r"DATASETS.TRAIN is .*A list needs a comma"),
        ("('folder:{0}/train' 'folder:{0}/val')", r"A list needs a comma"),
        ("('folder:{0}/train' 'folder:{0}/val',)", r"There is 'folder:' twice in it: is a comma missing"),
        ("('camvid_sem_seg_train' 'scenes_sem_seg_train',)", r"comma missing between 'camvid_sem_seg_train' and"),
    ],
)
def test_a_forgotten_comma(data: Path, tmp_path: Path, value: str, complaint: str) -> None:
    with pytest.raises((ConfigError, FileNotFoundError), match=complaint):
        setup(with_sets(arguments(data, tmp_path), value.format(data), "()"))


def test_a_large_set_is_sampled_until_two_classes_are_seen(tmp_path: Path) -> None:
    samples = []
    for index in range(12):
        Image.fromarray(np.full((2, 2), index == 7, np.uint8)).save(tmp_path / f"{index}.png")
        samples.append({"dataset_name": "a", "sem_seg_file_name": str(tmp_path / f"{index}.png")})
    found = survey_labels(samples, {"a": LabelCode(2)}, at_least=3)
    assert (found.present, found.total) == ([0, 1], 12)
    assert 3 < found.files <= 12
    assert survey_labels(samples, {"a": LabelCode(2)}, wanted=1, at_least=3).files == 3


def test_results_of_a_training_and_of_sets_in_another_order(data: Path, tmp_path: Path) -> None:
    (data / "classes.txt").write_text("a | 200 0 0\nb | 0 200 0\nc | 0 0 200\n")
    output = tmp_path / "output"
    results = main(arguments(data, output, SOLVER__MAX_ITER=2, TEST__EVAL_PERIOD=0, TEST__SEM_SEG__NUM_PICTURES=1))
    figures = results["sem_seg"]
    assert figures["mIoU"] == read_results(output)["mIoU"]

    other = shutil.copytree(data, tmp_path / "other")
    relabel(other, "val", lambda label: np.array([2, 0, 1], np.uint8)[label])  # class k is called [2, 0, 1][k] there
    (other / "classes.txt").write_text("B\nC\nA\n")
    args = arguments(data, tmp_path / "again", MODEL__WEIGHTS=output / "model_final.pth", TEST__SEM_SEG__NUM_PICTURES=1)
    args.eval_only = True
    found = main(with_sets(args, f"('folder:{data}/train',)", f"('folder:{other}/val',)"))["sem_seg"]
    assert {name.lower(): value for name, value in found.items()} == pytest.approx(
        {name.lower(): value for name, value in figures.items()}, nan_ok=True
    )

    # In a process that has never heard of the folder.
    for name in [name for name in DatasetCatalog.list() if name.startswith("folder:")]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    prediction = Predictor(output / "model_final.pth", "cpu")(np.zeros((32, 32, 3), np.uint8))
    colors = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)], np.uint8)
    np.testing.assert_array_equal(prediction.color(), colors[prediction.labels])


def test_batch_norm_of_a_single_value(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path / "output", SOLVER__IMS_PER_BATCH=1, MODEL__SEM_SEG_HEAD__NORM="GN")
    with pytest.raises(ValueError, match=r"BatchNorm needs .* 1 image of 32 x 32 pixels .*SOLVER.IMS_PER_BATCH"):
        trainer.train()


def test_a_set_without_label_maps_and_one_that_ignores_a_class(data: Path, tmp_path: Path) -> None:
    names = [f"class {k}" for k in range(3)]
    label = next((data / "labels/val").iterdir())
    for name, ignore_label, more in (("boxes", 255, {}), ("zero", 0, {"sem_seg_file_name": str(label)})):
        sample = {"file_name": str(data / "images/val" / label.name), **more}
        DatasetCatalog.register(name, lambda sample=sample: [sample])
        MetadataCatalog.get(name).set(stuff_classes=names, ignore_label=ignore_label, evaluator_type="sem_seg")
    try:
        for name, complaint in (
            ("boxes", r"'boxes' has no label map \('sem_seg_file_name'\) for 1 images"),
            ("zero", r"'zero' ignores the label 0, which is also the id of its class 'class 0'.*such as 255"),
        ):
            with pytest.raises(ConfigError, match=complaint):
                setup(with_sets(arguments(data, tmp_path / "out"), f"('folder:{data}/train',)", f"('{name}',)"))
    finally:
        for name in ("boxes", "zero"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
