"""Configs are made whole when a run starts; those that cannot be are refused by one sentence."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from icpc_d2.config import add_icpc_config, get_config_file
from icpc_d2.config.load import ConfigError, load_config
from icpc_d2.engine import Trainer, setup
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.engine.setup import resolve_classes
from icpc_d2.modeling.class_names import get_synonyms
from tests.support.programs import ROOT
from tests.support.training import arguments, make_data, make_trainer


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    return cfg


@pytest.fixture
def datasets() -> Iterator[None]:
    MetadataCatalog.get("pets").set(stuff_classes=["cat, feline", "dog"], prompt_classes=["cat", "dog"])
    MetadataCatalog.get("plain").set(stuff_classes=["tree", "bush"])
    MetadataCatalog.get("three").set(stuff_classes=["a", "b", "c"])
    yield
    for name in ("pets", "plain", "three"):
        MetadataCatalog.remove(name)


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(("dataset", "names"), [("pets", ["cat", "dog"]), ("plain", ["tree", "bush"])])
def test_classes_come_from_the_training_set(cfg: CfgNode, dataset: str, names: list[str]) -> None:
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (dataset,)
    resolve_classes(cfg)
    assert list(cfg.MODEL.CLASS_NAMES) == names
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 2


@pytest.mark.usefixtures("datasets")
def test_names_of_the_config_win(cfg: CfgNode) -> None:
    cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES = ("pets",), ["kitten", "puppy"]
    resolve_classes(cfg)
    assert cfg.MODEL.CLASS_NAMES == ["kitten", "puppy"]


@pytest.mark.usefixtures("datasets")
def test_data_sets_of_other_classes_need_a_list_of_shared_ones(cfg: CfgNode, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("b | dog")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("pets",), ("three",)
    cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES = [str(tmp_path / "shared.txt")]
    resolve_classes(cfg)
    assert cfg.MODEL.CLASS_NAMES == ["cat", "dog"]
    cfg.DATASETS.TEST = ("plain",)
    with pytest.raises(ValueError, match=r"the data set has no classes \['b'\]"):
        resolve_classes(cfg)
    cfg.DATASETS.TEST = ("ptes",)
    with pytest.raises(ValueError, match=r"'ptes' of DATASETS\.TEST has no classes: check the spelling"):
        resolve_classes(cfg)
    MetadataCatalog.pop("ptes", None)


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATASETS.TEST", ("three",)], "'three' has 3 classes but the model has 2"),
        (["DATASETS.TEST", ("ptes",)], "'ptes' has 0 classes .* check the spelling"),
        (["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 150], "NUM_CLASSES is 150, but .* has 2 class names"),
        (["DATASETS.TRAIN", ()], "no class names"),
    ],
)
def test_contradictions_are_refused(cfg: CfgNode, overrides: list, message: str) -> None:
    cfg.DATASETS.TRAIN = ("pets",)
    cfg.merge_from_list(overrides)
    with pytest.raises(ValueError, match=message):
        resolve_classes(cfg)
    MetadataCatalog.pop("ptes", None)


@pytest.fixture
def data(tmp_path: Path, logs_as_before: None) -> Path:
    return make_data(tmp_path / "data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOLVER.MAX_ITER", "0"], "SOLVER.MAX_ITER is 0, wanted 1 or more."),
        (["SOLVER.CHECKPOINT_PERIOD", "0"], "SOLVER.CHECKPOINT_PERIOD is 0, wanted 1 or more."),
        (["SOLVER.BASE_LR", "-1.0"], "SOLVER.BASE_LR is -1.0, wanted a number above 0."),
        (["SOLVER.BASE_LR", "1e999"], "SOLVER.BASE_LR is inf, wanted a number above 0."),
        (["SOLVER.CHECKPOINTS_KEPT", "-1"], "SOLVER.CHECKPOINTS_KEPT is -1, wanted 0 or more."),
        (["INPUT.SCALE_RANGE", "[2.0, 0.5]"], "INPUT.SCALE_RANGE is [2.0, 0.5], wanted two factors above 0, in order."),
        (
            ["INPUT.MIN_SIZE_TEST", "-1"],
            "INPUT.MIN_SIZE_TEST is -1, wanted 1 pixel or more, or 0 for images as they are",
        ),
        (["MODEL.CONTRASTIVE.NUM_POINTS", "1"], "NUM_POINTS is 1, wanted 2 or more: a point by itself has no other"),
        (["MODEL.CONTRASTIVE.TEMPERATURE", "-0.1"], "CONTRASTIVE.TEMPERATURE is -0.1, wanted a number above 0."),
        (["MODEL.ALIGNMENT.TEMPERATURE", "1e-999"], "ALIGNMENT.TEMPERATURE is 0.0, wanted a number above 0."),
        (["MODEL.CONTEXT_DECODER.LAMBDA", "1e999"], "LAMBDA is inf, wanted a finite number."),
        (["MODEL.PROMPT.TEMPLATE", "a photo"], "TEMPLATE is 'a photo', wanted a text with one {}, where the name"),
        (["MODEL.PIXEL_STD", "[58.4, 0.0, 57.4]"], "PIXEL_STD is [58.4, 0.0, 57.4], wanted three numbers above 0."),
        (["MODEL.CLIP.VIT_DROP_PATH", "1.0"], "VIT_DROP_PATH is 1.0, wanted a number from 0 to below 1."),
        (["SOLVER.BACKBONE_MULTIPLIER", "-0.1"], "BACKBONE_MULTIPLIER is -0.1, wanted a number of 0 or more."),
        (["INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", "0.0"], "MAX_AREA is 0.0, wanted a share above 0, up to 1."),
        (["INPUT.FORMAT", "HSV"], "INPUT.FORMAT is 'HSV', wanted RGB or BGR."),
        (["INPUT.CROP.SIZE", "[512]"], "INPUT.CROP.SIZE is [512], wanted height and width in pixels"),
        (["MODEL.BACKBONE.FREEZE_AT", "6"], "MODEL.BACKBONE.FREEZE_AT is 6, wanted 0 (all trains) to 5"),
        (["SOLVER.POLY_POWER", "-0.9"], "SOLVER.POLY_POWER is -0.9, wanted a number of 0 or more."),
        (["INPUT.VALUE_RANGE", "[-1e999, 5]"], "VALUE_RANGE is [-inf, 5], wanted the values of black and of white"),
        (["INPUT.ON_BAD_FILE", "ignore"], "INPUT.ON_BAD_FILE is 'ignore', wanted raise or skip."),
    ],
)
def test_values_out_of_range(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_ranges(load_config(get_config_file("camvid/icpc_tiny.yaml"), options))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MODEL__WEIGHTS": "nowhere.pth"}, "MODEL.WEIGHTS: there is no file nowhere.pth."),
        ({"MODEL__BACKBONE__FREEZE_AT": 2}, "FREEZE_AT is 2, but MODEL.WEIGHTS is empty: .* random weights"),
        ({"MODEL__SEM_SEG_HEAD__NUM_CLASSES": 150}, "NUM_CLASSES is 150, but .* has 3 class names"),
        ({"MODEL__CLASS_NAMES": "['a', 'b']"}, "has 3 classes but the model has 2"),
    ],
)
def test_contradictions(data: Path, tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        setup(arguments(data, tmp_path, **overrides))


def test_several_names_of_a_class_go_into_the_config_of_the_run(data: Path, tmp_path: Path) -> None:
    (data / "classes.txt").write_text("sky\nboat, ship\ncar\n")
    assert setup(arguments(data, tmp_path)).MODEL.CLASS_SYNONYMS == [[], ["ship"], []]
    written = load_config(str(tmp_path / "config.yaml"))
    assert get_synonyms(written) == [("sky",), ("boat", "ship"), ("car",)]


@pytest.mark.parametrize("key", ["DATASETS.TRAIN", "DATASETS.TEST"])
def test_data_sets_that_are_unknown_or_missing_are_found_before_the_training(
    data: Path, tmp_path: Path, key: str
) -> None:
    args = arguments(data, tmp_path)
    place = args.opts.index(key) + 1
    args.opts[place] = "('camvid_sem_seg_trian',)"
    with pytest.raises(ConfigError, match=f"{key}: there is no data set .* Did you mean camvid_sem_seg_train?"):
        setup(args)
    args.opts[place] = "('camvid_sem_seg_val',)"
    with pytest.raises(FileNotFoundError, match="Run `icpc prepare camvid`"):
        setup(args)
    args.opts[place] = "('folder:nowhere/val',)"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        setup(args)


def test_an_empty_data_set_is_found_before_the_training(data: Path, tmp_path: Path) -> None:
    for file in (data / "images" / "val").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no image has a label map of the same name"):
        setup(arguments(data, tmp_path / "output"))


def test_no_data_set_at_all(data: Path, tmp_path: Path) -> None:
    args = arguments(data, tmp_path)
    args.opts[args.opts.index("DATASETS.TRAIN") + 1] = "()"
    with pytest.raises(ConfigError, match="DATASETS.TRAIN is empty"):
        setup(args)


def test_a_batch_that_processes_cannot_share(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"SOLVER\.IMS_PER_BATCH is 3; wanted a multiple"):
        make_trainer(data, tmp_path, SOLVER__IMS_PER_BATCH=3, SOLVER__ACCUMULATE=2)


def test_what_cannot_be_evaluated_ends_a_training_before_it_begins(data: Path, tmp_path: Path) -> None:
    """Not after the last iteration, where that is when it is evaluated."""
    samples = DatasetCatalog.get(make_trainer(data, tmp_path / "good").cfg.DATASETS.TEST[0])
    DatasetCatalog.register("without_a_type", lambda: samples)
    MetadataCatalog.get("without_a_type").set(stuff_classes=[f"class {index}" for index in range(3)])
    try:
        args = arguments(data, tmp_path / "type")
        args.opts[args.opts.index("DATASETS.TEST") + 1] = "('without_a_type',)"
        with pytest.raises(ValueError, match="'without_a_type' has evaluator_type None in its metadata"):
            Trainer(setup(args))
    finally:
        DatasetCatalog.remove("without_a_type")
        MetadataCatalog.remove("without_a_type")
    options = {"TEST__AUG__ENABLED": True, "TEST__AUG__SCALES": [0.5, 0.0]}
    with pytest.raises(ValueError, match=r"TEST\.AUG\.SCALES is \[0\.5, 0\.0\]; wanted is one positive factor"):
        Trainer(setup(arguments(data, tmp_path / "scales", **options)))


def test_the_program_leaves_with_a_sentence(data: Path, tmp_path: Path) -> None:
    args = arguments(data, tmp_path, SOLVER__MAX_ITER=0)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "train_net.py"))["main"](args)
    assert end.value.code == "error: SOLVER.MAX_ITER is 0, wanted 1 or more."
