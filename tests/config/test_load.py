"""Configs that cannot be read are refused by one sentence that says what to change."""

from pathlib import Path

import pytest
import yaml

from icpc_d2.config import get_config_file
from icpc_d2.config.load import ConfigError, load_config

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
