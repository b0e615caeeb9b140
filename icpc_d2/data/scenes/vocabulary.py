"""The words of captioned scenes: kinds of things with their synonyms, their plurals, and the names of colours."""

from icpc_d2.data.scenes.drawing import Palette, SceneClass

# The first of a kind's names is the kind's own.
SYNONYMS: dict[str, tuple[str, ...]] = {
    # What has a label, in the order of the class list.
    "sky": ("sky",),
    "mountain": ("mountain", "peak", "mountain range"),
    "water": ("water", "lake", "sea"),
    "grass": ("grass", "meadow", "field"),
    "road": ("road", "street"),
    "building": ("building", "house"),
    "tree": ("tree",),
    "car": ("car", "automobile", "vehicle"),
    "person": ("person", "pedestrian"),
    "boat": ("boat", "ship"),
    # What has none.
    "bus": ("bus", "coach"),
    "bicycle": ("bicycle", "bike"),
    "dog": ("dog", "hound"),
    "cow": ("cow",),
    "bird": ("bird",),
    "plane": ("plane", "airplane"),
    "balloon": ("balloon", "hot-air balloon"),
    "bridge": ("bridge", "viaduct"),
    "tower": ("tower",),
    "windmill": ("windmill", "mill"),
    "tent": ("tent",),
    "bench": ("bench",),
    "fence": ("fence", "railing"),
    "flag": ("flag", "banner"),
    "street lamp": ("street lamp", "lamp post"),
    "sign": ("sign", "road sign"),
}
KINDS = tuple(SYNONYMS)
# Kinds that fill the landscape; the others are things that stand in it and can be counted.
LANDSCAPE = ("sky", "mountain", "water", "grass", "road")
LABELLED = tuple(kind.name.lower() for kind in SceneClass)

# Names that would be said of another kind too: they are left out beside it.
ALSO_SAID_OF = {"vehicle": {"bus", "bicycle"}, "building": {"tower", "windmill"}}
# The landscape's names as they stand in a sentence.
LANDSCAPE_PHRASES = {
    "sky": ("the sky",),
    "mountain": ("mountains", "peaks", "a mountain range"),
    "water": ("water", "a lake", "the sea"),
    "grass": ("grass", "a meadow", "a field"),
    "road": ("a road", "a street"),
}
_PLURALS = {"person": "people"}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Palettes in percent, far enough from each other to be told apart in most light.
COLORS: dict[str, Palette] = {
    "red": [(72, 9, 9), (82, 18, 16)],
    "blue": [(10, 22, 68), (18, 38, 82)],
    "green": [(12, 46, 18), (24, 58, 20)],
    "yellow": [(90, 74, 10), (94, 82, 28)],
    "white": [(94, 94, 92)],
    "black": [(7, 7, 8)],
    "grey": [(46, 47, 49)],
    "orange": [(90, 44, 6), (88, 38, 4)],
    "brown": [(38, 22, 12), (46, 28, 16)],
    "purple": [(44, 14, 58)],
}


def plural(name: str) -> str:
    """Return the plural of a kind's name."""
    if name in _PLURALS:
        return _PLURALS[name]
    return name + ("es" if name.endswith(("s", "ch", "sh", "x")) else "s")


def with_article(words: str) -> str:
    """Put "a" or "an" before words."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
