"""Keys of Detectron2 do something, or are refused: those that our configs and documents set, and all others."""

import re
from argparse import Namespace
from fnmatch import fnmatch
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg
from fvcore.common.config import CfgNode as YamlNode
from yacs.config import CfgNode as YacsNode

from icpc_d2.config import get_config_file
from icpc_d2.config.detectron2_keys import ONE_VALUE, READ, READ_IF, check_detectron2_keys, why_unread
from icpc_d2.config.load import ConfigError, leaves, load_config
from icpc_d2.engine import Trainer, setup
from tests.support.configs import CONFIGS, RUNNABLE
from tests.support.programs import ROOT
from tests.support.training import arguments, make_data

DETECTRON2 = dict(leaves(get_cfg()))
FILES = [CONFIGS / name for name in RUNNABLE]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "icpc_d2").rglob("*.md"))]
# Read where there are several processes, a GPU, or at the end of an evaluation.
READ_ELSEWHERE = (
    *("VERSION", "CUDNN_BENCHMARK", "TEST.EXPECTED_RESULTS", "TEST.PRECISE_BN.NUM_ITER", "TEST.AUG.FLIP"),
    *("DATALOADER.REPEAT_*", "SOLVER.CLIP_GRADIENTS.*", "DATALOADER.RANDOM_SUBSET_RATIO", "MODEL.WEIGHTS"),
)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys that are read from now on, of configs that :func:`watch` has marked."""
    found: set[str] = set()
    plain = YacsNode.__getattr__

    def getattr_and_note(node: YacsNode, name: str) -> object:
        if "_path" in node.__dict__ and name in node:
            found.add(node.__dict__["_path"] + name)
        return plain(node, name)

    monkeypatch.setattr(YacsNode, "__getattr__", getattr_and_note)
    return found


def watch(node: CfgNode, path: str = "") -> None:
    node.__dict__["_path"] = path
    for key, value in node.items():
        if isinstance(value, CfgNode):
            watch(value, f"{path}{key}.")


def test_what_a_training_reads_is_in_the_table(tmp_path: Path, logs_as_before: None, read: set[str]) -> None:
    data = make_data(tmp_path / "data")
    resnet = {
        "MODEL__META_ARCHITECTURE": "SemanticFPN",
        "MODEL__BACKBONE__NAME": "build_fpn_backbone",
        "MODEL__FPN__BOTTOM_UP": "build_resnet_deeplab_backbone",
        "MODEL__RESNETS__OUT_FEATURES": "['res2', 'res3', 'res4', 'res5']",
        "MODEL__RESNETS__NORM": "BN",
        "SOLVER__OPTIMIZER": "SGD",
        "SOLVER__LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    }
    always: set[str] = set()
    for overrides in ({}, resnet):
        cfg = setup(arguments(data, tmp_path / f"output{len(overrides)}", **overrides))
        watch(cfg)
        Trainer(cfg).build_test_loader(cfg, cfg.DATASETS.TEST[0])
        # The first is read by Detectron2's loader alone, the others before the optimizer is chosen.
        keys = read & DETECTRON2.keys() - {"MODEL.LOAD_PROPOSALS", "SOLVER.MOMENTUM", "SOLVER.NESTEROV"}
        assert {key: why for key in keys if (why := why_unread(key, cfg)) and key not in always} == {}
        always |= keys
    read_by_all = {key for key in DETECTRON2 if any(fnmatch(key, pattern) for pattern in READ)}
    unread = {key for key in read_by_all - read if not any(fnmatch(key, pattern) for pattern in READ_ELSEWHERE)}
    assert unread == set()


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_the_keys_of_our_configs_do_something(file: Path) -> None:
    cfg = load_config(str(file))
    check_detectron2_keys(cfg)
    keys = {key for key, _ in leaves(YamlNode.load_yaml_with_base(str(file)))} & DETECTRON2.keys()
    assert {key for key in keys - ONE_VALUE.keys() if why_unread(key, cfg)} == set()


def test_the_keys_of_our_documents_are_read() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    found = set(re.findall(r"[A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)+", text)) & DETECTRON2.keys()
    patterns = (*READ, *READ_IF, *ONE_VALUE)
    assert len(found) > 15
    assert {key for key in found if not any(fnmatch(key, pattern) for pattern in patterns)} == set()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["TEST.AUG.MIN_SIZES", "(400,)"], r"TEST.AUG.MIN_SIZES is \(400,\), .*TEST.AUG.SCALES has the sizes"),
        (["INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"], "INPUT.SCALE_RANGE has the scales"),
        (["INPUT.CROP.TYPE", "relative"], "INPUT.CROP.TYPE is 'relative', .*of INPUT.CROP.SIZE pixels"),
        (["MODEL.RESNETS.DEPTH", "101"], "CLIP's image encoders are built by MODEL.CLIP"),
        (["SOLVER.STEPS", "(100,)"], "SOLVER.LR_SCHEDULER_NAME WarmupMultiStepLR reads it"),
        (["SOLVER.MOMENTUM", "0.5"], "SOLVER.OPTIMIZER SGD reads it"),
        (["MODEL.MASK_ON", "True"], "MODEL.MASK_ON is True, but nothing here reads this key"),
        (["MODEL.ROI_HEADS.NUM_CLASSES", "3"], "it is for detection"),
        (["VIS_PERIOD", "10"], "Leave it at 0"),
    ],
)
def test_keys_that_do_nothing_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_detectron2_keys(load_config(get_config_file("camvid/icpc_tiny.yaml"), options))


@pytest.mark.parametrize(
    "options",
    [
        ["SOLVER.MOMENTUM", "0.5", "SOLVER.OPTIMIZER", "SGD"],
        ["SOLVER.STEPS", "(100,)", "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR"],
        ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.META_ARCHITECTURE", "PanopticFPN"],
        ["MODEL.RESNETS.DEPTH", "18", "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"],
    ],
)
def test_keys_that_something_reads_are_taken(options: list[str]) -> None:
    check_detectron2_keys(load_config(get_config_file("camvid/icpc_tiny.yaml"), options))


def test_a_crop_of_detectron2s_default_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("INPUT:\n  CROP:\n    ENABLED: True\n    SIZE: [64, 64]\n")
    with pytest.raises(ConfigError, match="INPUT.CROP.TYPE is 'relative_range'"):
        check_detectron2_keys(load_config(str(tmp_path / "own.yaml"), ["MODEL.META_ARCHITECTURE", "ICPC"]))


def test_several_training_sizes_are_refused(tmp_path: Path, logs_as_before: None) -> None:
    args: Namespace = arguments(make_data(tmp_path / "data"), tmp_path / "output", INPUT__MIN_SIZE_TRAIN="(32, 64)")
    with pytest.raises(ConfigError, match=r"INPUT.MIN_SIZE_TRAIN is \(32, 64\), wanted one size .*INPUT.SCALE_RANGE"):
        setup(args)
