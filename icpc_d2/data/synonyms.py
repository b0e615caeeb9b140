"""Names of classes in a text: classes between semicolons or commas, and several names of one class between commas.

sky, road                           two classes
sky; boat, ship, vessel             two classes, the second with three names
sky; "salt, pepper"                 a name that holds a comma, in quotation marks
"""

import re
from collections.abc import Iterable, Mapping, Sequence

# A separator has an even number of quotation marks behind it.
_OUTSIDE_QUOTES = r'{}(?=(?:[^"]*"[^"]*")*[^"]*$)'


def split_synonyms(text: str) -> tuple[str, ...]:
    """Return the names of a class, ``boat, ship, vessel``.

    Raises:
        ValueError: a name is empty, or a quotation mark is left open.
    """
    names = tuple(map(_plain, _split(text, ",")))
    if not all(names):
        raise ValueError(f"found {text!r}, wanted the names of a class with commas between them, as 'boat, ship'.")
    return names


def split_classes(text: str) -> list[tuple[str, ...]]:
    """Return the names of each class in a text, as the head of this file shows; empty ones are left out.

    Raises:
        ValueError: see :func:`split_synonyms`.
    """
    if len(classes := _split(text, ";")) > 1:
        return [split_synonyms(part) for part in classes if part.strip()]
    return [(name,) for name in map(_plain, _split(text, ",")) if name]


def names_of_classes(classes: Iterable[str | Sequence[str]] | str) -> tuple[tuple[str, ...], ...]:
    """Return the names of each class of a text, or of a list whose entries are texts or lists of the names of a class.

    Raises:
        ValueError: a dict, a class without a name, or see :func:`split_synonyms`.
    """
    if isinstance(classes, str):
        return tuple(split_classes(classes))
    if isinstance(classes, Mapping) or not isinstance(classes, Iterable):
        kind = type(classes).__name__
        raise ValueError(f"found classes in a {kind}, wanted a list: [['boat', 'ship'], 'sky'] or 'boat, ship; sky'.")
    found = []
    for given in classes:
        names = split_synonyms(given) if isinstance(given, str) else given
        if not isinstance(names, Iterable) or not (names := tuple(names)) or not all(map(_is_text, names)):
            raise ValueError(f"found {given!r} among the classes, wanted a name or a list of names for each.")
        found.append(names)
    return tuple(found)


def _split(text: str, separator: str) -> list[str]:
    if text.count('"') % 2:
        raise ValueError(f"found {text!r}, in which a quotation mark is left open.")
    return re.split(_OUTSIDE_QUOTES.format(separator), text)


def _is_text(name: object) -> bool:
    return isinstance(name, str)


def _plain(name: str) -> str:
    return " ".join(name.replace('"', "").split())
