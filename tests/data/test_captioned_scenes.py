"""Captioned scenes: the same each time, with captions that are true of their masks, in styles that differ."""

import re
from collections import Counter

import numpy as np
import pytest

from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.scenes.captioned import KINDS, STYLES, SYNONYMS, CaptionedScene, Thing, draw_captioned_scene
from icpc_d2.data.scenes.captions import write_captions
from icpc_d2.data.scenes.dataset import HEIGHT, IGNORE_LABEL, SMALLEST_REGION, WIDTH
from icpc_d2.data.scenes.vocabulary import COLORS, NUMBERS, plural
from tests.support.documents import read, snippet

NAMES = read_class_list("scenes_10").prompt_names
COUNT = 60
# Any name of a kind, one or many, -> the kind.
NOUNS = {form: kind for kind, names in SYNONYMS.items() for name in names for form in (name, plural(name))}
COUNTED = re.compile(
    rf"\b(?P<number>{'|'.join(NUMBERS[1:])}) (?:large |small )?(?:(?P<color>{'|'.join(COLORS)}) )?"
    rf"(?P<noun>{'|'.join(sorted(NOUNS, key=len, reverse=True))})\b(?: in (?P<worn>{'|'.join(COLORS)}))?"
)


@pytest.fixture(scope="module")
def drawn() -> list[CaptionedScene]:
    return [draw_captioned_scene((3, index), STYLES[index % len(STYLES)], index // 40) for index in range(COUNT)]


def test_the_same_seed_draws_the_same_scene(drawn: list[CaptionedScene]) -> None:
    again, other = draw_captioned_scene((3, 4)), draw_captioned_scene((3, 5))
    np.testing.assert_array_equal(again.image, drawn[4].image)
    np.testing.assert_array_equal(again.labels, drawn[4].labels)
    assert again.captions == drawn[4].captions
    assert (other.image != again.image).any()
    assert other.captions != again.captions


def test_of_a_seed_the_styles_show_the_same_things() -> None:
    scenes = [draw_captioned_scene(11, style) for style in STYLES]
    for scene in scenes[1:]:
        np.testing.assert_array_equal(scene.labels, scenes[0].labels)
        for thing, by_day in zip(scene.things, scenes[0].things, strict=True):
            assert thing.kind == by_day.kind
            np.testing.assert_array_equal(thing.mask, by_day.mask)
    assert len({scene.image.tobytes() for scene in scenes}) == len(STYLES)


def test_in_another_paint_each_kind_has_another_color() -> None:
    compared, exchanged = 0, 0
    for index in range(16):
        by_kind = [Counter(), Counter()]
        colors: list[dict[str, str | None]] = [{}, {}]
        for paint in (0, 1):
            for thing in draw_captioned_scene((8, index), paint=paint).things:
                if thing.ground:
                    by_kind[paint][thing.kind] += 1
                    colors[paint][thing.kind] = thing.color
        assert abs(by_kind[0].total() - by_kind[1].total()) <= 2
        for kind in by_kind[0]:
            if by_kind[0][kind] == by_kind[1][kind] == 1:
                compared += 1
                assert colors[1][kind] != colors[0][kind], (index, kind)
                exchanged += colors[1][kind] in colors[0].values()
    assert compared >= 15
    assert exchanged >= compared / 4, "colours of other things of the scene"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="found the style 'fog', wanted one of day, night, line drawing, snow"):
        draw_captioned_scene(0, "fog")


def test_what_a_captioned_scene_is(drawn: list[CaptionedScene]) -> None:
    for scene in drawn:
        assert (scene.image.shape, scene.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert (scene.labels.shape, scene.labels.dtype) == ((HEIGHT, WIDTH), np.uint8)
        assert set(np.unique(scene.labels)) <= {*range(len(NAMES)), IGNORE_LABEL}
        assert len(set(scene.captions)) == len(scene.captions) >= 3
        assert sum(thing.mask for thing in scene.things).max() == 1  # no pixel belongs to two
        for thing in scene.things:
            known = scene.labels[thing.mask]
            wanted = NAMES.index(thing.kind) if thing.kind in NAMES else IGNORE_LABEL
            assert ((known == wanted) | (known == IGNORE_LABEL)).all()
            assert (known == wanted).any() or thing.mask.sum() < SMALLEST_REGION
            assert thing.color is None or thing.color in COLORS
    assert {thing.kind for scene in drawn for thing in scene.things} == {*KINDS}


def matching(scene: CaptionedScene, kind: str, color: str | None) -> list:
    return [thing for thing in scene.things if thing.kind == kind and color in (None, thing.color)]


def test_what_captions_count_is_there(drawn: list[CaptionedScene]) -> None:
    counted = Counter()
    for scene in drawn:
        for caption in scene.captions:
            for found in COUNTED.finditer(caption):
                color = found["color"] or found["worn"]
                things = matching(scene, NOUNS[found["noun"]], color)
                assert len(things) == NUMBERS.index(found["number"]), (caption, scene.things)
                counted[len(things), color is not None] += 1
    assert min(counted[number, colored] for number in (1, 2) for colored in (True, False)) >= 5


@pytest.mark.parametrize(("words", "low", "high"), [("left", 0, 0.4), ("middle", 0.4, 0.6), ("right", 0.6, 1)])
def test_what_captions_place_is_there(drawn: list[CaptionedScene], words: str, low: float, high: float) -> None:
    pattern = re.compile(rf"(?:a|an|one) (?:(\w+) )?({'|'.join(NOUNS)})(?: in (\w+))? (?:on|in) the {words}\b")
    checked = 0
    for scene in drawn:
        for color, noun, worn in (match for caption in scene.captions for match in pattern.findall(caption)):
            (thing,) = matching(scene, NOUNS[noun], color or worn or None)
            assert low < np.flatnonzero(thing.mask.any(axis=0))[[0, -1]].mean() / WIDTH < high
            checked += 1
    assert checked >= 3


def test_captions_use_synonyms(drawn: list[CaptionedScene]) -> None:
    """Each name of a kind is said, of the kinds that are seen often enough to be named so."""
    seen = Counter(kind for scene in drawn for kind in {thing.kind for thing in scene.things})
    said = " ".join(caption for scene in drawn for caption in scene.captions)
    often = [kind for kind in KINDS if seen[kind] >= 8 and kind != "sky"]
    assert {"person", "car"} <= {*often}
    for kind in often:
        for name in SYNONYMS[kind]:
            assert re.search(rf"\b({name}|{plural(name)})\b", said), name


def square(kind: str, top: int, left: int, size: int = 20, color: str | None = None) -> Thing:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + size, left : left + size] = True
    return Thing(kind, color, mask)


def captions_of(*things: Thing, style: str = "day", seeds: int = 30) -> set[str]:
    return {
        caption
        for seed in range(seeds)
        for caption in write_captions(np.random.default_rng(seed), things, "cloudy", style)
    }


@pytest.mark.parametrize(
    ("dog", "words", "never"),
    [
        ((60, 90), "behind", "in front of|left of|right of"),
        ((110, 90), "in front of", "behind|left of|right of"),
        ((84, 20), "to the left of", "behind|in front of|right of"),
        ((84, 150), "to the right of", "behind|in front of|left of"),
        ((84, 90), "", "behind|in front of|left of|right of"),
    ],
)
def test_relations_follow_from_the_masks(dog: tuple[int, int], words: str, never: str) -> None:
    said = captions_of(square("dog", *dog), square("tent", 84, 90))
    first = {caption for caption in said if re.search(r"(dog|hound).* (of|behind) .*tent", caption)}
    assert bool(first) == bool(words)
    assert all(words in caption and not re.search(never, caption) for caption in first)


@pytest.mark.parametrize(("size", "words"), [(8, "small"), (20, ""), (60, "large")])
def test_sizes_follow_from_the_masks(size: int, words: str) -> None:
    said = captions_of(square("cow", 60, 60, size))
    assert {word for word in ("small", "large") if any(word in caption for caption in said)} == {words} - {""}


def test_a_name_that_fits_another_kind_is_not_said_beside_it() -> None:
    assert any("vehicle" in caption for caption in captions_of(square("car", 84, 20)))
    assert not any("vehicle" in caption for caption in captions_of(square("car", 84, 20), square("bus", 84, 150)))
    assert not any("building" in caption for caption in captions_of(square("building", 9, 9), square("tower", 9, 99)))


def test_a_colour_is_said_where_the_count_is_of_it_alone() -> None:
    cars = [
        square("car", 84, 20, color="red"),
        square("car", 84, 60, color="red"),
        square("car", 84, 150, color="blue"),
    ]
    for caption in captions_of(*cars):
        if "two" in caption:
            assert re.search(r"two red (cars|automobiles|vehicles)", caption)
        assert not re.search(r"the (car|automobile|vehicle)s? (is|are)", caption)  # they have no one colour


def test_a_line_drawing_says_so_and_nothing_of_colour_or_light() -> None:
    scene = draw_captioned_scene((6, 1), "line drawing")
    assert all(thing.color is None for thing in scene.things)
    for caption in scene.captions:
        assert re.search(r"drawing|sketch", caption)
        assert not re.search(rf"\b({'|'.join({*COLORS} - {'black', 'white'})}|day|dusk|light)\b", caption)


@pytest.mark.parametrize(("style", "words"), [("night", "night|dark"), ("snow", "snow|winter")])
def test_night_and_snow_are_said(style: str, words: str) -> None:
    captions = draw_captioned_scene((6, 1), style).captions
    assert re.search(words, captions[0])
    assert not any(re.search(rf"{words}", caption) for caption in draw_captioned_scene((6, 1)).captions)


def test_the_scene_of_the_page_is_described_there() -> None:
    code, names = snippet(read("icpc_d2/data/README.md"), "scene"), {}
    exec(code, names)
    said = re.findall(r"'(.*?)'", code.split("scene.captions")[1].splitlines()[0])
    assert len(said) == 2 and {*said} <= {*names["scene"].captions}
