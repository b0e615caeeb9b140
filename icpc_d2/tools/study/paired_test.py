"""Whether one method beats another over the same seeds: an exact test by the differences' signs, and its verdict."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

# A verdict other than "not shown" may be wrong by chance so often, at most.
LEVEL = 0.05
# Sums of the same numbers in another order differ by rounding; relative to their size.
ROUNDING = 1e-9


class Verdict(NamedTuple):
    """The seeds' answer to a claim."""

    word: str  # "shown", "not shown", "contrary", "too few seeds" or "not run"
    p_claim: float | None  # of as large a difference in favour of the claim by chance; None: not run
    p_contrary: float | None  # the same against it


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return how probable a sum as high as that of these differences is, if each could as well have the other sign.

    Exact: all 2^n choices of signs count, of which the one that was found is one, so that no result is below 2^-n.
    Nothing is assumed of the differences but that without an effect they are symmetrical about 0 (Fisher's test).

    Raises:
        ValueError: there are none.
    """
    if not differences:
        raise ValueError("found no differences, wanted one or more.")
    # Each choice is one for the first half and one for the second: their sums meet without all 2^n being made.
    middle = len(differences) // 2
    first, second = (np.sort(_signed_sums(part)) for part in (differences[:middle], differences[middle:]))
    least = sum(differences) - ROUNDING * sum(map(abs, differences))
    as_high = len(second) - np.searchsorted(second, least - first)
    return float(as_high.sum()) / 2 ** len(differences)


def _signed_sums(values: Sequence[float]) -> np.ndarray:
    return np.array([np.dot(signs, values) for signs in product((1.0, -1.0), repeat=len(values))])


def judge(differences: Sequence[float], margin: float = 0.0) -> Verdict:
    """Judge the claim that a method is better than another, or at most `margin` worse, at :data:`LEVEL` either way.

    Args:
        differences: the method's figure minus the other's, seed by seed.
    """
    if not differences:
        return Verdict("not run", None, None)
    found = [difference + margin for difference in differences]
    p_claim, p_contrary = sign_flip_p(found), sign_flip_p([-difference for difference in found])
    if p_claim <= LEVEL:
        word = "shown"
    elif p_contrary <= LEVEL:
        word = "contrary"
    else:
        word = "not shown" if 2.0 ** -len(found) <= LEVEL else "too few seeds"
    return Verdict(word, p_claim, p_contrary)
