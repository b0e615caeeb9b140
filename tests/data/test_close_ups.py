"""Close-ups of captioned scenes: parts of them at their own scale, most often of a thing, with true captions."""

from collections import Counter

import cv2
import numpy as np
import pytest

from icpc_d2.data.scenes.captioned import CaptionedScene, draw_captioned_scene
from icpc_d2.data.scenes.close_ups import SIDE, CloseUp, draw_close_ups
from icpc_d2.data.scenes.styles import STYLES
from icpc_d2.data.scenes.vocabulary import ALSO_SAID_OF, KINDS, LANDSCAPE, SYNONYMS, plural

COUNT = 6


@pytest.fixture(scope="module")
def taken() -> list[tuple[CaptionedScene, CloseUp]]:
    scenes = [draw_captioned_scene((4, index), STYLES[index % len(STYLES)]) for index in range(12)]
    return [(scene, one) for scene in scenes for one in draw_close_ups(np.random.default_rng(1), scene, COUNT)]


def window_of(scene: CaptionedScene, close_up: CloseUp) -> tuple[slice, slice]:
    """Find the place in the scene that looks exactly like the close-up."""
    difference = cv2.matchTemplate(scene.image, close_up.image, cv2.TM_SQDIFF)
    top, left = np.unravel_index(difference.argmin(), difference.shape)
    window = (slice(top, top + SIDE), slice(left, left + SIDE))
    np.testing.assert_array_equal(scene.image[window], close_up.image)
    return window


def kinds_named(caption: str) -> set[str]:
    """Return the kinds that a caption names, by words that are said of no other kind."""
    words = f" {caption} "
    for several in ("street lamp", "road sign", "night sky", "dark sky", "cloudy sky", "evening sky", "pale sky"):
        words = words.replace(several, several.replace(" ", "_"))  # a lamp is no street, and the weather no view
    names = {kind: [name.replace("street lamp", "street_lamp") for name in SYNONYMS[kind]] for kind in KINDS}
    forms = {kind: [f" {form} " for name in names[kind] for form in (name, plural(name))] for kind in KINDS}
    said_of_more = {f" {form} " for name in ALSO_SAID_OF for form in (name, plural(name))} | {" sky ", " sign "}
    return {kind for kind in KINDS if any(form in words for form in forms[kind] if form not in said_of_more)}


def test_there_are_as_many_as_wanted_and_always_the_same() -> None:
    scene = draw_captioned_scene((4, 0))
    one, again, other = (draw_close_ups(np.random.default_rng(seed), scene, COUNT) for seed in (0, 0, 1))
    assert len(one) == COUNT and all(close_up.image.shape == (SIDE, SIDE, 3) for close_up in one)
    assert [close_up.captions for close_up in one] == [close_up.captions for close_up in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, again, strict=True))
    assert [close_up.captions for close_up in one] != [close_up.captions for close_up in other]
    assert draw_close_ups(np.random.default_rng(0), scene, 0) == []


def test_captions_name_what_the_close_up_shows_and_nothing_else(taken: list[tuple[CaptionedScene, CloseUp]]) -> None:
    named = set()
    for scene, close_up in taken:
        window = window_of(scene, close_up)
        shown: Counter[str] = Counter()
        for thing in scene.things:
            shown[thing.kind] += thing.mask[window].sum()
        assert close_up.captions
        for caption in close_up.captions:
            for kind in kinds_named(caption):
                assert shown[kind] >= 30, (caption, kind)
                named.add(kind)
    assert len(named) > 15, "the test reads the captions"


def test_most_are_of_things(taken: list[tuple[CaptionedScene, CloseUp]]) -> None:
    things = [any(kinds_named(caption) - set(LANDSCAPE) for caption in close_up.captions) for _, close_up in taken]
    assert np.mean(things) > 0.7
