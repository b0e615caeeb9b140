"""Configs that cannot be are refused when a run starts, by one sentence that says what to change."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from detectron2.modeling import build_model

from icpc_d2.config import get_config_file
from icpc_d2.config.load import ConfigError, load_config
from icpc_d2.engine import setup
from icpc_d2.engine.setup import check_ranges
from tests.support.models import make_cfg
from tests.support.training import arguments, make_data, make_trainer

ROOT = Path(__file__).parents[2]
TINY = get_config_file("camvid/icpc_tiny.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOLVER.BASE_LRR", "1e-3"], "there is no config key SOLVER.BASE_LRR. Did you mean SOLVER.BASE_LR?"),
        (["SOLVER.MAX_ITERS", "5"], "there is no config key SOLVER.MAX_ITERS. Did you mean SOLVER.MAX_ITER?"),
        (["model.weights", "x"], "there is no config key model.weights. Did you mean MODEL.WEIGHTS?"),
        (["MODEL.PROMPT", "icpc"], "there is no config key MODEL.PROMPT. It is a section: name one of its keys."),
        (["xyzzy", "1"], "the command line: there is no config key xyzzy."),
        (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER is 'many', wanted a value of type int, as 40000."),
        (["SOLVER.MAX_ITER", "1.5"], "SOLVER.MAX_ITER is '1.5', wanted a value of type int"),
        (["SOLVER.BASE_LR", "1"], "SOLVER.BASE_LR is '1', wanted a value of type float, as 0.001."),
        (["SOLVER.AMP.ENABLED", "yes"], "SOLVER.AMP.ENABLED is 'yes', wanted a value of type bool, as False."),
        (["INPUT.MIN_SIZE_TRAIN", "('a',)"], "INPUT.MIN_SIZE_TRAIN is \"('a',)\", wanted a value of type tuple"),
        (["SOLVER.MAX_ITER", "None"], "SOLVER.MAX_ITER is 'None', wanted a value of type int"),
        (["SOLVER.MAX_ITER"], "Options come in pairs of KEY VALUE; found 1: SOLVER.MAX_ITER"),
    ],
)
def test_misspelt_keys_and_wrong_types(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(TINY, options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("SOLVER:\n  BASE_LRR: 0.1\n", "there is no config key SOLVER.BASE_LRR. Did you mean SOLVER.BASE_LR?"),
        ("SOLVER:\n  MAX_ITER: [1]\n", "SOLVER.MAX_ITER is [1], wanted a value of type int"),
        ("SOLVER:\n", "there is no config key SOLVER. It is a section"),
        ("SOLVER: {MAX_ITER: ", "cannot be read as a config: ParserError"),
        ("", "cannot be read as a config"),
        ("- a\n- b\n", "cannot be read as a config"),
        ("a\0b", "cannot be read as a config: ReaderError"),
        ("_BASE_: nowhere.yaml\n", "cannot be read as a config: FileNotFoundError"),
        ("_BASE_: broken.yaml\n", "cannot be read as a config: RecursionError"),
        ("OUTPUT_DIR: !!python/object/apply:os.getcwd []\n", "cannot be read as a config: ConstructorError"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_config(str(file))
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_config_of_the_output_folder_can_be_read_again(tmp_path: Path) -> None:
    cfg = load_config(TINY, ["SOLVER.BASE_LR", "1e-5", "INPUT.CROP.SIZE", "[16, 8]"])
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = load_config(str(tmp_path / "config.yaml"))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(cfg.dump())
    assert again.INPUT.CROP == cfg.INPUT.CROP


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOLVER.MAX_ITER", "0"], "SOLVER.MAX_ITER is 0, wanted 1 or more."),
        (["SOLVER.CHECKPOINT_PERIOD", "0"], "SOLVER.CHECKPOINT_PERIOD is 0, wanted 1 or more."),
        (["SOLVER.BASE_LR", "-1.0"], "SOLVER.BASE_LR is -1.0, wanted a number above 0."),
        (["SOLVER.BASE_LR", "1e999"], "SOLVER.BASE_LR is inf, wanted a number above 0."),
        (["SOLVER.CHECKPOINTS_KEPT", "-1"], "SOLVER.CHECKPOINTS_KEPT is -1, wanted 0 or more."),
        (["INPUT.SCALE_RANGE", "[2.0, 0.5]"], "INPUT.SCALE_RANGE is [2.0, 0.5], wanted two factors above 0, in order."),
        (["INPUT.FORMAT", "HSV"], "INPUT.FORMAT is 'HSV', wanted RGB or BGR."),
        (["INPUT.CROP.SIZE", "[512]"], "INPUT.CROP.SIZE is [512], wanted height and width in pixels"),
        (["INPUT.ON_BAD_FILE", "ignore"], "INPUT.ON_BAD_FILE is 'ignore', wanted raise or skip."),
    ],
)
def test_values_out_of_range(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_ranges(load_config(TINY, options))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MODEL__WEIGHTS": "nowhere.pth"}, "MODEL.WEIGHTS: there is no file nowhere.pth."),
        ({"MODEL__SEM_SEG_HEAD__NUM_CLASSES": 150}, "NUM_CLASSES is 150, but .* has 3 class names"),
        ({"MODEL__CLASS_NAMES": "['a', 'b']"}, "has 3 classes but the model has 2"),
    ],
)
def test_contradictions(data: Path, tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        setup(arguments(data, tmp_path, **overrides))


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


def test_an_empty_data_set_is_found_before_the_training(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    for file in (data / "images" / "val").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no image has a label map of the same name"):
        setup(arguments(data, tmp_path / "output"))


def test_no_data_set_at_all(data: Path, tmp_path: Path) -> None:
    args = arguments(data, tmp_path)
    args.opts[args.opts.index("DATASETS.TRAIN") + 1] = "()"
    with pytest.raises(ConfigError, match="DATASETS.TRAIN is empty"):
        setup(args)


def test_a_vision_transformer_with_a_resnet() -> None:
    options = ["MODEL.BACKBONE.NAME", "build_clip_vit_backbone", "MODEL.CLIP.ARCH", "tiny-RN"]
    with pytest.raises(
        ValueError, match=r"MODEL\.CLIP\.ARCH 'tiny-RN' has no vision transformer.*MODEL\.BACKBONE\.NAME"
    ):
        build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
    options = ["MODEL.BACKBONE.NAME", "build_clip_resnet_backbone", "MODEL.CLIP.ARCH", "tiny-ViT"]
    with pytest.raises(ValueError, match=r"MODEL\.CLIP\.ARCH 'tiny-ViT'.*MODEL\.BACKBONE\.NAME"):
        build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))


def test_a_batch_that_processes_cannot_share(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"SOLVER\.IMS_PER_BATCH is 3; wanted a multiple"):
        make_trainer(data, tmp_path, SOLVER__IMS_PER_BATCH=3, SOLVER__ACCUMULATE=2)


def test_the_program_leaves_with_a_sentence(data: Path, tmp_path: Path) -> None:
    args = arguments(data, tmp_path, SOLVER__MAX_ITER=0)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "train_net.py"))["main"](args)
    assert end.value.code == "error: SOLVER.MAX_ITER is 0, wanted 1 or more."
