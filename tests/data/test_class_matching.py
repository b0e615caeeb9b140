"""Classes of data sets are matched by their names; other classes are refused with the ids that differ."""

from collections.abc import Callable

import numpy as np
import pytest
from detectron2.config import CfgNode
from PIL import Image

from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.class_matching import class_colors_of, class_order, label_code_of
from icpc_d2.data.label_code import LabelCode

NAMES = ["sky", "traffic light", "road"]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (NAMES, None),
        (["road", "sky", "traffic light"], [2, 0, 1]),
        (["Road", "SKY", "Traffic_Light"], [2, 0, 1]),
        (["road, route", "sky", "traffic light, stoplight "], [2, 0, 1]),
    ],
)
def test_the_same_names_in_any_order(register: Callable[..., str], names: list[str], order: list[int] | None) -> None:
    other = register("other", stuff_classes=names)
    assert class_order(other, NAMES) == order
    assert class_order(other, (), register("first", stuff_classes=NAMES)) == order


def test_names_in_two_forms_of_unicode(register: Callable[..., str]) -> None:
    assert class_order(register("other", stuff_classes=["cafe\u0301", "sky"]), ["sky", "caf\u00e9"]) == [1, 0]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["road", "sky", "tree"], r"'other' has other classes .*1 differ .*: 2: 'tree' -> 'traffic light'"),
        (["sky", "sky, heaven", "road"], r"2 differ .*: 0: 'sky' -> 'sky', 1: 'sky, heaven' -> 'traffic light'"),
        (["a", "b", "c"], r"3 differ .*0: 'a' -> 'sky', 1: 'b' -> 'traffic light', 2: 'c' -> 'road'"),
        (["sky", "road"], r"'other' has 2 classes but the model has 3"),
    ],
)
def test_other_classes_are_refused(register: Callable[..., str], names: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        class_order(register("other", stuff_classes=names), NAMES)


def test_names_for_prompts_and_those_of_other_projects(register: Callable[..., str]) -> None:
    """A set of ours and the same one as another project has registered it."""
    ours = register("ours", stuff_classes=["sky-other", "road, route"], prompt_classes=["sky", "road"])
    theirs = register("theirs", stuff_classes=["road, route", "sky-other"])
    assert class_order(theirs, ["sky", "road"], ours) == [1, 0]
    assert class_order(ours, [], theirs) == [1, 0]


def test_a_config_may_rename_the_classes_of_the_training_set(register: Callable[..., str]) -> None:
    first = register("first", stuff_classes=["cat", "dog", "cow"])
    second = register("second", stuff_classes=["dog", "cow", "cat"])
    names = ["kitten", "dog", "calf"]
    assert class_order(first, names, first) is None
    assert class_order(second, names, first) == [1, 2, 0]
    with pytest.raises(ValueError, match="3 differ|2 differ"):  # "dog" stands elsewhere: what is renamed to what?
        class_order(first, ["dog", "kitten", "calf"], first)


def test_colours_follow_the_names(register: Callable[..., str]) -> None:
    colors = [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    name = register("other", stuff_classes=["road", "sky", "traffic light"], stuff_colors=colors)
    assert class_colors_of(name, NAMES, name) == [(2, 2, 2), (3, 3, 3), (1, 1, 1)]


def test_training_sets_in_two_orders_are_read_alike(
    cfg: CfgNode, pair: dict[str, str], label: np.ndarray, register: Callable[..., str]
) -> None:
    (first,) = cfg.DATASETS.TRAIN
    order = [2, 0, 3, 1]  # class k of the other set is order[k] of the first
    names = [f"Class {k}" for k in order]
    other = register("permuted", stuff_classes=names, ignore_label=255)
    table = np.full(256, 255, np.uint8)
    table[order] = range(4)
    theirs = {**pair, "sem_seg_file_name": pair["sem_seg_file_name"].replace("label", "permuted")}
    Image.fromarray(table[label]).save(theirs["sem_seg_file_name"])
    cfg.DATASETS.TRAIN = (first, other)
    mapper = SemSegDatasetMapper(cfg, True)
    for name, sample in ((first, pair), (other, theirs)):
        np.random.seed(3)
        found = mapper({**sample, "dataset_name": name})["sem_seg"]
        np.random.seed(3)
        np.testing.assert_array_equal(found, mapper({**pair, "dataset_name": first})["sem_seg"])
    with pytest.raises(ValueError, match="wanted is the name of one of them as 'dataset_name'"):
        mapper(pair)


def test_the_code_of_a_set_that_another_project_has_registered(register: Callable[..., str]) -> None:
    assert label_code_of(register("other", stuff_classes=NAMES, ignore_label=254)) == LabelCode(3, 254)
