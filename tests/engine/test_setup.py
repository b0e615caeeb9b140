from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog

from icpc_d2.config import add_icpc_config
from icpc_d2.engine.setup import resolve_classes


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
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (dataset,), ("plain",)
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
