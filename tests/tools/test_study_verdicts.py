"""The exact test by signs against all signs written out, and numbers by hand; the verdicts on them."""

import random
from itertools import product

import pytest

from icpc_d2.tools.study.paired_test import judge, sign_flip_p


def by_hand(differences: list[float]) -> float:
    """Every choice of signs, one by one; integers, so that sums are exact."""
    choices = list(product((1, -1), repeat=len(differences)))
    sums = [sum(sign * value for sign, value in zip(signs, differences, strict=True)) for signs in choices]
    return sum(one >= sum(differences) for one in sums) / len(choices)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([3.0], 1 / 2),
        ([1, 2], 1 / 4),
        ([1, 2, 3, 4, 5], 1 / 32),  # none other than all of them positive reaches 15
        ([-1, 2, 3, 4, 5], 2 / 32),  # 13: itself, and 15 with the 1 turned
        ([1, 2, 3, 4, -5], 10 / 32),  # 5: {}, 1, 2, 3, 4, 5, 1+2, 1+3, 1+4 or 2+3 negative
        ([-1, -2, -3, -4, -5], 1.0),
        ([0, 0, 0, 0, 0], 1.0),
        ([0, 0, 1], 1 / 2),  # the zeros' signs do not matter
    ],
)
def test_probabilities_counted_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip_p(differences) == p
    assert by_hand(differences) == p


def test_both_halves_together_are_all_signs() -> None:
    draw = random.Random(0)
    for count in (1, 2, 5, 8, 11):
        differences = [float(draw.randint(-9, 12)) for _ in range(count)]
        assert sign_flip_p(differences) == by_hand(differences)


def test_rounding_makes_no_difference() -> None:
    # In binary 0.1 + 0.2 + 0.3 depends on the order, and 0.3 - 0.1 is not 0.2.
    assert sign_flip_p([0.1, 0.2, 0.3]) == sign_flip_p([0.3, 0.2, 0.1]) == 1 / 8
    assert sign_flip_p([0.3, -0.1, -0.2]) == by_hand([3, -1, -2])


def test_twenty_five_seeds_take_no_time() -> None:
    assert sign_flip_p([1.0] * 25) == 2.0**-25
    assert 0.4 < sign_flip_p([(-1.0) ** index for index in range(25)]) < 0.6
    with pytest.raises(ValueError, match="no differences"):
        sign_flip_p([])


@pytest.mark.parametrize(
    ("differences", "margin", "word"),
    [
        ([0.4, 1.2, 0.1, 0.9, 2.0], 0.0, "shown"),
        ([0.4, 1.2, -0.1, 0.9, 2.0], 0.0, "not shown"),  # p = 2/32
        ([-0.4, -1.2, -0.1, -0.9, -2.0], 0.0, "contrary"),
        ([-0.4, -0.8, -0.1, -0.9, -0.2], 1.0, "shown"),  # at most 1 worse: yes
        ([-1.4, -1.2, -1.1, -1.9, -2.0], 1.0, "contrary"),
        ([0.0] * 5, 0.0, "not shown"),
        ([5.0, 6.0, 5.5, 6.5], 0.0, "too few seeds"),  # p cannot be below 1/16
        ([], 0.0, "not run"),
    ],
)
def test_verdicts(differences: list[float], margin: float, word: str) -> None:
    assert judge(differences, margin).word == word
