"""Class lists of other programs are refused, each with the line that would be right here."""

import re
from pathlib import Path

import pytest

from icpc_d2.data.class_list import CLASS_LISTS, read_class_list
from icpc_d2.data.foreign_lists import check_shape
from icpc_d2.data.list_text import read_lines


@pytest.mark.parametrize(
    ("text", "number", "what", "right"),
    [
        ("id,name,r,g,b\n0,road,128,64,128", 1, "the head of a table", "leave this line out"),
        ("name\nroad\nsky", 1, "the head of a table", "leave this line out"),
        ("Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t1\t1\t0\twall", 1, "the head", "leave this line out"),
        ("road,128,64,128\nsky,1,2,3", 1, "a colour", "write 'road | 128 64 128'"),
        ("0,road,128,64,128\n1,sky,1,2,3", 1, "a table", "write 'road | 128 64 128 | | 0'"),
        ("road;0\nsky;1", 1, "a table", "write 'road | | | 0'"),
        ("0\troad\n1\tsky", 1, "a table", "write 'road | | | 0'"),
        ("road,#804080\nsky,#0000ff", 1, "a table", "write 'road'"),
        ("0: road\n1: sky", 1, "a number beside the name", "write 'road | | | 0'"),
        ("road: 0\nsky: 1", 1, "a number beside the name", "write 'road | | | 0'"),
        ("0 road\n1 sky", 1, "a number beside the name", "write 'road | | | 0'"),
        ("road\n1. sky", 2, "a number beside the name", "write 'sky | | | 1'"),
        ("road 128 64 128\nsky 0 0 0", 1, "a colour without bars", "write 'road | 128 64 128'"),
        ("128 64 128 Road\n0 0 0 sky", 1, "a colour without bars", "write 'Road | 128 64 128'"),
        ("road:128,64,128::\nsky:0,0,0::", 1, "a colour without bars", "write 'road | 128 64 128'"),
        ("# label:color_rgb:parts:actions\nroad:128,64,128::", 1, "a comment", "leave this line out"),
        ("0\n1\n2", 1, "a number in the place of a name", "in words"),
        ("- road\n- sky", 1, "a list of YAML", "write 'road'"),
        ("names:\n  0: road", 1, "a key", "leave this line out"),
        ('["road", "sky"]', 1, "JSON", "write 'road"),
        ('"road"\n"sky"', 1, "quotation marks", "write 'road'"),
        ("__ignore__\n_background_\nroad", 1, "labelme's", "leave this line out"),
        ("_background_\nroad", 1, "labelme's", "write 'background'"),
    ],
)
def test_known_shapes(tmp_path: Path, text: str, number: int, what: str, right: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"classes\.txt, line {number}: found .*{re.escape(what)}") as error:
        read_class_list(tmp_path / "classes.txt")
    assert right in str(error.value)


@pytest.mark.parametrize(
    "text", ["road\n2 wheeler", "boat, ship\nsky", "T-junction\nclass 1", "road | 1 2 3\na | 3 2 1"]
)
def test_names_that_only_look_like_it_are_taken(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    assert len(read_class_list(tmp_path / "classes.txt")) == 2


@pytest.mark.parametrize("path", sorted(CLASS_LISTS.glob("*.txt")), ids=lambda path: path.stem)
def test_our_own_lists_are_none(path: Path) -> None:
    check_shape(path, read_lines(path))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("sky\nstraße\n".encode("latin-1"), r"line 2: found the byte 0xdf, which is no UTF-8"),
        ("sky\nroad\n".encode("utf-16"), r"line 1: found the byte 0xff, which is no UTF-8"),
        (b"sky\nro\x00ad\n", r"line 2: found U\+0000"),
        ("sky\nro\u200bad".encode(), r"line 2: found U\+200B \(ZERO WIDTH SPACE\), which nobody sees"),
        ("caf\u00e9\ncafe\u0301".encode(), r"more than once: café"),
        (b"Sky\nsky", r"more than once: Sky, sky \(they differ by case, blanks or Unicode form alone"),
    ],
    ids=["latin-1", "UTF-16", "NUL", "zero width", "Unicode form", "case"],
)
def test_texts_that_hide_something(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"classes\.txt.*{complaint}"):
        read_class_list(tmp_path / "classes.txt")


def test_line_ends_and_marks_of_other_systems(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("\ufeffsky\u00a0blue\r\nroad\r\n\r\n".encode())
    assert read_class_list(tmp_path / "classes.txt").names == ["sky blue", "road"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ignore\nroad\nsky", r"line 1: 'ignore' is no class, .*'ignore \| \| \| 0'"),
        ("road\nIgnore", r"line 2: 'ignore' is no class"),
        ("ignore | 0 0 0\nroad | 1 1 2\nsky | 2 2 3", r"line 1: 'ignore' stands among the classes"),
        ("road\nsky\nignore | 0 0 0", r"line 3: 'ignore' has a colour, but the classes have none"),
        ("road | | | 1\nignore | | | 1", "ids must be unique, found more than once: 1"),
        ("road | | | 70000\nsky | | | 1", "ids of 0..65535"),
    ],
)
def test_an_ignore_that_could_shift_ids(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_class_list(tmp_path / "classes.txt")
