"""The short form of fuzz.py."""

import pytest

from tests.faults.fuzz import PARTS, make_test


@pytest.mark.parametrize("part", PARTS)
def test_random_damage_is_answered_by_a_clear_error(part: str) -> None:
    make_test(part, 60)()
