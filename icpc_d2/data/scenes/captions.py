"""Sentences about a scene, each made of what its things' masks say, so that all of them are true."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from icpc_d2.data.scenes.drawing import Random
from icpc_d2.data.scenes.things import Thing
from icpc_d2.data.scenes.vocabulary import (
    ALSO_SAID_OF,
    LANDSCAPE,
    LANDSCAPE_PHRASES,
    NUMBERS,
    SYNONYMS,
    plural,
    with_article,
)

# In pixels: how much lower the feet of what is in front are.
NEARER = 8

SKY_WORDS = {
    "fair": ("under a fair sky", "in fair weather", "in daylight"),
    "cloudy": ("under a cloudy sky", "on a cloudy day", "in dull light"),
    "dusk": ("at dusk", "at sunset", "under an evening sky"),
    "pale": ("under a pale sky", "on a hazy day", "in pale light"),
    "stormy": ("under a dark sky", "before a storm", "under storm clouds"),
}
STYLE_WORDS = {
    "night": ("at night", "in the dark", "under a night sky", "by night"),
    "snow": ("in the snow", "in winter", "while snow falls", "on a snowy day"),
}
EVERYWHERE = ("sky", "grass")  # so often there that their names alone say nothing
OPENINGS = ("", "", "a photo of {}", "a picture of {}", "a view of {}", "an image with {}", "a scene with {}")
DRAWN_OPENINGS = ("a line drawing of {}", "a sketch of {}", "a drawing in ink of {}", "a black and white drawing of {}")


def write_captions(rng: Random, things: Sequence[Thing], weather: str, style: str) -> tuple[str, ...]:
    """Return true sentences about a scene of a weather and a style, in many shapes, none twice, the fullest first."""
    speaker = _Speaker(rng, things, weather, style)
    sentences = [speaker.dressed(speaker.everything())]
    for shape in SHAPES:
        sentences += [speaker.dressed(words) for words in shape(speaker)]
    sentences += _colors(speaker)
    return tuple(dict.fromkeys(sentences))


class _Speaker:
    """Says the parts of sentences about one scene, each time with other words."""

    def __init__(self, rng: Random, things: Sequence[Thing], weather: str, style: str) -> None:
        self.rng = rng
        self.weather, self.style = weather, style
        self.landscape = [thing for thing in things if thing.kind in LANDSCAPE]
        self.things = [thing for thing in things if thing.kind not in LANDSCAPE]
        self.kinds = {thing.kind for thing in things}

    def one_of(self, choices: Sequence[str]) -> str:
        return choices[self.rng.integers(len(choices))]

    def shuffled(self, items: Sequence) -> list:
        return [items[index] for index in self.rng.permutation(len(items))]

    def name(self, kind: str) -> str:
        """Name a kind by a word that fits no other kind in the scene."""
        return self.one_of([word for word in SYNONYMS[kind] if not ALSO_SAID_OF.get(word, set()) & self.kinds])

    def land(self, kind: str) -> str:
        """Name a kind of landscape as a part of a sentence."""
        return self.one_of(LANDSCAPE_PHRASES[kind])

    def groups(self, by_color: bool) -> list[list[Thing]]:
        """Return the things of each kind together, or those of each kind and colour; in any order."""

        def key(thing: Thing) -> tuple[str, str]:
            return thing.kind, (thing.color or "") if by_color else ""

        return self.shuffled([list(group) for _, group in groupby(sorted(self.things, key=key), key)])

    def phrase(self, group: Sequence[Thing], size: str = "") -> str:
        """Count the things of a group, which has all of its kind or all of its kind and colour: "two red cars"."""
        colors, number = {thing.color for thing in group}, len(group)
        color = next(iter(colors)) if len(colors) == 1 and (self.must_color(group) or self.rng.random() < 0.7) else None
        words = self.name(group[0].kind) if number == 1 else plural(self.name(group[0].kind))
        if color:
            words = f"{words} in {color}" if group[0].kind == "person" else f"{color} {words}"
        words = f"{size} {words}".strip()
        if number == 1:
            return with_article(words) if self.rng.random() < 0.8 else f"one {words}"
        return f"{NUMBERS[number]} {words}"

    def must_color(self, group: Sequence[Thing]) -> bool:
        """Whether there are more of the kind in other colours, so that the count is true of the colour alone."""
        return len(group) < sum(thing.kind == group[0].kind for thing in self.things)

    def everything(self) -> str:
        """Say most of what there is in one sentence: things, their ground, the landscape behind, light and weather."""
        groups = self.groups(by_color=bool(self.rng.random() < 0.6))[:3]
        if not groups:
            return f"{self.lands()} {self.light()}".strip()
        grounds = {thing.ground for group in groups for thing in group}
        where = self.on_ground(next(iter(grounds))) if len(grounds) == 1 else ""
        return " ".join(filter(None, (joined([self.phrase(group) for group in groups]), where, self.light())))

    def lands(self) -> str:
        """Name two or three parts of the landscape."""
        named = [self.land(thing.kind) for thing in self.shuffled(self.landscape) if thing.kind != "sky"]
        return joined(named[:3]) or "the sky"

    def light(self) -> str:
        """Say the light or the weather; nothing of a line drawing, which does not show it."""
        if self.style == "line drawing":
            return ""
        return self.one_of(STYLE_WORDS.get(self.style, SKY_WORDS[self.weather]))

    def on_ground(self, ground: str | None) -> str:
        if ground is None or ground not in self.kinds:
            return ""
        return f"{'in' if ground == 'sky' else 'on'} {self.land(ground)}"

    def dressed(self, words: str) -> str:
        """Begin a sentence in one of the usual ways; a line drawing says that it is one."""
        if self.style == "line drawing":
            return self.one_of(DRAWN_OPENINGS).format(words)
        words = self.one_of(OPENINGS).format(words) or words
        if (
            self.style != "day"
            and not any(said in words for said in STYLE_WORDS[self.style])
            and self.rng.random() < 0.6
        ):
            words = f"{words} {self.light()}"
        return words


def joined(words: Sequence[str]) -> str:
    """Join words as "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _counts(speaker: _Speaker) -> Iterator[str]:
    """Yield "two red cars", "three dogs on a meadow"."""
    for group in speaker.groups(by_color=True)[:2]:
        yield speaker.phrase(group)
    for group in speaker.groups(by_color=False)[:2]:
        where = speaker.on_ground(group[0].ground) if len({thing.ground for thing in group}) == 1 else ""
        yield f"{speaker.phrase(group)} {where}".strip()


def _places(speaker: _Speaker) -> Iterator[str]:
    """Yield "a blue car on the left", of things that are the only ones of their kind and colour, or all there."""
    for group in speaker.groups(by_color=True):
        if len(places := {thing.place for thing in group}) == 1 and (place := places.pop()):
            yield f"{speaker.phrase(group)} {place}"
            return


def _sizes(speaker: _Speaker) -> Iterator[str]:
    """Yield "a large white building", of one thing that is the only one of its kind and colour."""
    for group in speaker.groups(by_color=True):
        if len(group) == 1 and group[0].size:
            yield speaker.phrase(group, group[0].size)
            return


def _relations(speaker: _Speaker) -> Iterator[str]:
    """Yield "a dog in front of a house", of single things one behind the other, or beside a third."""
    single = [group[0] for group in speaker.groups(by_color=False) if len(group) == 1 and group[0].ground != "sky"]
    for first in single:
        for second in single:
            if first is not second and (relation := _relation(first, second)):
                yield f"{speaker.phrase([first])} {relation} {speaker.phrase([second])}"
                return


def _relation(first: Thing, second: Thing) -> str:
    """Say how one thing stands to another, if that is plain: behind, in front of, left of, right of."""
    (_, left, bottom, right), (_, other_left, other_bottom, other_right) = first.box, second.box
    if min(right, other_right) > max(left, other_left):  # one above the other in the image
        return "in front of" if bottom >= other_bottom + NEARER else "behind" if other_bottom >= bottom + NEARER else ""
    return "to the left of" if right <= other_left else "to the right of"


def _colors(speaker: _Speaker) -> Iterator[str]:
    """Yield "the car is red", of a kind that has one colour, and "a blue sky": sentences by themselves."""
    for group in speaker.groups(by_color=False):
        if len(colors := {thing.color for thing in group}) == 1 and (color := colors.pop()):
            noun, wears = speaker.name(group[0].kind), "wearing " if group[0].kind == "person" else ""
            yield f"the {noun} is {wears}{color}" if len(group) == 1 else f"the {plural(noun)} are {wears}{color}"
            break
    for thing in speaker.landscape:
        if thing.color:
            yield f"{with_article(thing.color)} {speaker.name(thing.kind)}"


def _backgrounds(speaker: _Speaker) -> Iterator[str]:
    """Yield "a road and mountains at dusk", "a lake"."""
    yield f"{speaker.lands()} {speaker.light()}".strip()
    for thing in speaker.shuffled([thing for thing in speaker.landscape if thing.kind not in EVERYWHERE])[:1]:
        yield speaker.land(thing.kind)


def _single_words(speaker: _Speaker) -> Iterator[str]:
    """Yield "a dog": whatever else there is."""
    for thing in speaker.shuffled(speaker.things)[:1]:
        yield with_article(speaker.name(thing.kind))


SHAPES: tuple[Callable[[_Speaker], Iterator[str]], ...] = (
    _counts,
    _places,
    _sizes,
    _relations,
    _backgrounds,
    _single_words,
)
