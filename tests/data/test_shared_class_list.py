"""The lists of Table 9, and reading others."""

from pathlib import Path

import numpy as np
import pytest

from icpc_d2.data.class_list import OTHER, SHARED_CLASSES, read_class_list, read_shared_classes

COCO_STUFF = read_class_list("coco_stuff_171").prompt_names
# The numbers of the paper, section 4.5.
LISTS = {"voc": ("voc_2012_20", 17), "pascal_context": ("pascal_context_59", 45)}
LISTS |= {"cityscapes": ("cityscapes_19", 12), "isaid": ("isaid_16", 3)}


@pytest.mark.parametrize("name", LISTS)
def test_as_many_classes_are_shared_as_in_the_paper(name: str) -> None:
    classes, number = LISTS[name]
    names = read_class_list(classes).prompt_names
    shared = read_shared_classes(name, names, COCO_STUFF)
    assert len(shared.names) == len(shared.model_ids) == number
    assert [names[index] for index in shared.dataset_ids] == shared.names
    different = {(shared.names[shared.of_model[index]], COCO_STUFF[index]) for index in shared.model_ids}
    different = {(theirs, ours) for theirs, ours in different if theirs != ours}
    assert different <= {("tv monitor", "tv"), ("shelves", "shelf"), ("ship", "boat"), ("plane", "airplane")}


def test_every_list_is_tested() -> None:
    assert {path.stem for path in SHARED_CLASSES.iterdir()} == set(LISTS)


def test_the_background_makes_no_difference() -> None:
    names = [read_class_list(name).prompt_names for name in ("voc_2012_20", "voc_2012_21")]
    without, with_background = (read_shared_classes("voc", name, COCO_STUFF) for name in names)
    assert without.names == with_background.names
    assert (without.dataset_ids + 1).tolist() == with_background.dataset_ids.tolist()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shared.txt"


def test_several_classes_of_the_model_may_be_one(path: Path) -> None:
    path.write_text("wall | brick wall\n\ncar\nwall | panel\n")
    shared = read_shared_classes(str(path), ["car", "sky", "wall"], ["panel", "boat", "car", "brick wall"])
    assert shared.names == ["car", "wall"]
    assert shared.model_ids == [0, 2, 3]
    assert shared.of_model.tolist() == [1, OTHER, 0, 1]
    assert shared.to_dataset.tolist() == [2, OTHER, 0, 2]
    np.testing.assert_array_equal(shared.of_dataset(3, 255), [0, 255, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car\nplane", r"shared\.txt: the data set has no classes \['plane'\]; it has car, sky"),
        ("car | automobile", r"the model has no classes \['automobile'\]; it has car, sky, boat"),
        ("car | sky\nsky", "the model's names must be unique, found more than once: sky"),
        ("car | sky | boat", r"found 'car \| sky \| boat', wanted 'name' or"),
        ("car |", r"found 'car \|', wanted 'name' or"),
        (" \n", "found no class"),
    ],
)
def test_lists_that_do_not_fit_are_refused(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_shared_classes(str(path), ["car", "sky"], ["car", "sky", "boat"])


def test_a_list_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"there are cityscapes, isaid, pascal_context, voc"):
        read_shared_classes("vok", ["car"], ["car"])
