"""Class lists: what is shipped, what is read, what is refused."""

from pathlib import Path

import pytest

from icpc_d2.data.class_list import CLASS_LISTS, ignore_label_of, read_class_list
from icpc_d2.modeling.labels import IGNORE_16_BIT


@pytest.mark.parametrize("name", [path.stem for path in sorted(CLASS_LISTS.glob("*.txt"))])
def test_shipped_lists(name: str) -> None:
    classes, count = read_class_list(name), int(name.split("_")[-1])
    assert len(classes) == len(classes.prompt_names) == len(classes.colors) == count
    assert len(set(classes.colors)) >= count - 1  # ADE20K's usual palette has one colour twice
    assert len(set(classes.names)) == len(set(classes.ids)) == count


@pytest.mark.parametrize("path", sorted(CLASS_LISTS.glob("*.txt")), ids=lambda path: path.stem)
def test_prompt_names_are_plain_english(path: Path) -> None:
    for name in read_class_list(path).prompt_names:
        assert all(character.isalpha() or character in " -'" for character in name), name
        assert not name.endswith(("-other", "-stuff")), name
        assert "," not in name, "no lists of synonyms"


def test_ade20k_full_tells_classes_apart_that_share_their_first_synonym() -> None:
    names = read_class_list("ade20k_full_847").prompt_names
    assert len(names) == 847
    assert [names[k] for k in (0, 255, 846)] == ["wall", "pier", "adding machine"]
    assert {"bag", "traveling bag", "handbag"} <= set(names)


def test_ade20k_names_are_those_of_earlier_work() -> None:
    names = read_class_list("ade20k_150").prompt_names
    assert [names[k] for k in (0, 6, 8, 89, 149)] == ["wall", "road", "windowpane", "television receiver", "flag"]


@pytest.mark.parametrize(("count", "label"), [(1, 255), (255, 255), (256, 65535), (847, 65535)])
def test_ignored_pixels_have_the_largest_label_of_their_files(count: int, label: int) -> None:
    assert ignore_label_of(count) == label


def test_the_model_ignores_what_16_bit_files_ignore() -> None:
    assert ignore_label_of(256) == IGNORE_16_BIT


def test_several_names_of_a_class(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text('sky\nboat, ship,vessel | | Boat\n"salt, pepper"\nignore | | | 9\n', encoding="utf-8")
    classes = read_class_list(path)
    assert classes.prompt_names == ["sky", "boat", "salt, pepper"]
    assert classes.names == ["sky", "Boat", "salt, pepper"]
    assert classes.synonyms == [(), ("ship", "vessel"), ()]
    assert classes.all_names == [("sky",), ("boat", "ship", "vessel"), ("salt, pepper",)]
    path.write_text("sky\nboat,, ship\n")
    with pytest.raises(ValueError, match=r"classes\.txt, line 2: found 'boat,, ship'"):
        read_class_list(path)


def test_other_names_and_missing_colours(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("sky\n\nbrick wall | | wall-brick\n", encoding="utf-8")
    classes = read_class_list(path)
    assert classes.prompt_names == ["sky", "brick wall"]
    assert classes.names == ["sky", "wall-brick"]
    assert classes.colors == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sky | 1 2", "line 1"),
        ("road\nsky | 1 2 256", "line 2"),
        ("sky | a b c", "wanted 'name'"),
        (" | 1 2 3", "line 1"),
        ("sky | 1 2 3 | heaven | more", "line 1"),
        ("sky\nroad\nsky", "more than once: sky"),
        ("sky | 1 2 3\nroad", "1 of 2 classes have a colour"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        read_class_list(path)


def test_ids_and_the_colour_that_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("sky | 1 2 3 | | 7\nroad | 4 5 6 | street | 3\nignore | 0 0 0\n")
    classes = read_class_list(path)
    assert (classes.ids, classes.names) == ([7, 3], ["sky", "street"])
    code = classes.label_code(255)
    assert code.colors == {(1, 2, 3): 0, (4, 5, 6): 1, (0, 0, 0): 255}
    assert code.values == {7: 0, 3: 1}


def test_original_ids_are_those_of_the_data_sets() -> None:
    assert read_class_list("ade20k_150").ids == list(range(1, 151))
    assert read_class_list("voc_2012_20").ids == list(range(1, 21))
    assert read_class_list("cityscapes_19").ids[-3:] == [31, 32, 33]
    coco = read_class_list("coco_stuff_171").ids
    assert sorted({*range(1, 183)} - {*coco}) == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]
    assert read_class_list("ade20k_full_847").ids[:3] == [2978, 312, 2420]
    for name in ("pascal_context_59", "coco_stuff_171", "cityscapes_19"):
        ids = read_class_list(name).ids
        assert ids == sorted(ids)  # training ids follow the order of the official ones
