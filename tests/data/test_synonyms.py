"""Names of classes in a text: commas, semicolons, quotation marks."""

import pytest

from icpc_d2.data.synonyms import names_of_classes, split_classes, split_synonyms


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("sky, a  red car ,road", [("sky",), ("a red car",), ("road",)]),
        ("sky; boat, ship,vessel", [("sky",), ("boat", "ship", "vessel")]),
        ("boat, ship;", [("boat", "ship")]),
        ('sky, "salt, pepper"', [("sky",), ("salt, pepper",)]),
        ('"a; b"; "salt, pepper", salt', [("a; b",), ("salt, pepper", "salt")]),
        (" ,sky,, ", [("sky",)]),
        ("", []),
    ],
)
def test_classes_of_a_text(text: str, classes: list[tuple[str, ...]]) -> None:
    assert split_classes(text) == classes


@pytest.mark.parametrize(("text", "message"), [("sky; boat,,ship", "boat,,ship"), ('sky, "road', "left open")])
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_classes(text)


def test_names_of_one_class() -> None:
    assert split_synonyms("boat, ship") == ("boat", "ship")
    assert split_synonyms("traffic light") == ("traffic light",)
    with pytest.raises(ValueError, match="found ''"):
        split_synonyms("")


def test_lists_of_texts_and_of_lists() -> None:
    assert names_of_classes(["sky", "boat, ship", ["car", "van"]]) == (("sky",), ("boat", "ship"), ("car", "van"))
    assert names_of_classes("sky, boat") == names_of_classes(name for name in ("sky", "boat"))
    for wrong in ({"boat": ["ship"]}, ["sky", []], [["sky", 1]], ["sky", 1], 5):
        with pytest.raises(ValueError, match="found .*classes.* wanted a"):
            names_of_classes(wrong)
