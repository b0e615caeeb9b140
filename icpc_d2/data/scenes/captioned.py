"""Captioned scenes: images of many kinds of things, with what is in them, where, and sentences that say so.

Ten of the kinds are the classes of the data set ``scenes`` and have labels; the others are in images and captions only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from icpc_d2.data.scenes.captions import write_captions
from icpc_d2.data.scenes.dataset import HEIGHT, IGNORE_LABEL, WIDTH, ignore_remainders, photograph
from icpc_d2.data.scenes.drawing import Canvas, Random, halved, pick
from icpc_d2.data.scenes.habits import FACES_ROAD, HABITS, Habit
from icpc_d2.data.scenes.landscape import SKIES, draw_landscape
from icpc_d2.data.scenes.styles import STYLES, restyle
from icpc_d2.data.scenes.things import Thing
from icpc_d2.data.scenes.vocabulary import COLORS, KINDS, LABELLED, LANDSCAPE, SYNONYMS

__all__ = ["KINDS", "STYLES", "SYNONYMS", "CaptionedScene", "Thing", "draw_captioned_scene"]

# Of an image, in pixels: less of a landscape is not worth a word, less of a thing not to be recognized.
SMALLEST_LANDSCAPE = 400
SMALLEST_THING = 30
NARROWEST_GROUND = 8
# Of a thing: the share that must stay in sight, or it is not drawn there.
IN_SIGHT = 0.65
TRIES = 6
# How much likelier a thing with a label is than one without.
LABELLED_WEIGHT = 3.0
WEATHER = ("fair", "cloudy", "dusk", "pale", "stormy")  # in the order of SKIES
SKY_COLORS = {"fair": "blue", "cloudy": "grey", "stormy": "grey"}  # the others have colours without a plain name


@dataclass(frozen=True)
class CaptionedScene:
    """A scene and what is in it.

    Attributes:
        image: (160, 208, 3) uint8, RGB.
        labels: (160, 208) uint8, ids of ``classes/scenes_10.txt``; 255 for things without a label.
        captions: sentences, all of them true, none of them twice.
        things: what can be seen, each once; far ones first, and of the landscape one of each kind.
        style: one of STYLES.
        weather: one of WEATHER.
    """

    image: np.ndarray
    labels: np.ndarray
    captions: tuple[str, ...]
    things: tuple[Thing, ...]
    style: str
    weather: str


def draw_captioned_scene(seed: int | tuple[int, ...], style: str = "day", paint: int = 0) -> CaptionedScene:
    """Draw one captioned scene; of a seed, the things are the same in every style.

    Args:
        paint: 0, or the number of a drawing of the seed in which the same kinds of things have other colours, each
            other's where they can. Some of them may stand elsewhere or be left out.

    Raises:
        ValueError: there is no such style.
    """
    content, look, words = (np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(3))
    weather = int(content.integers(len(SKIES)))
    canvas, horizon, along = draw_landscape(content, (HEIGHT, WIDTH), weather)
    placed = _place_things(content, canvas, (horizon, along), paint)
    label_of = np.full(256, IGNORE_LABEL, np.uint8)
    for index, kind in enumerate((*LANDSCAPE, *(kind for kind, _, _ in placed))):
        if kind in LABELLED:
            label_of[index] = LABELLED.index(kind)
    labels = ignore_remainders(label_of[canvas.label])
    image = photograph(look, restyle(look, canvas.image, labels, canvas.label, style))
    things = tuple(_visible_things(canvas, placed, WEATHER[weather], style))
    captions = write_captions(words, things, WEATHER[weather], style)
    return CaptionedScene(image, labels, captions, things, style, WEATHER[weather])


def _place_things(rng: Random, canvas: Canvas, view: tuple[int, bool], paint: int) -> list[tuple[str, str, str]]:
    """Paint things, far ones first; return (kind, colour, ground) of each. Labels become numbers of things.

    The number of a thing is its place in the list, after those of the landscapes.
    """
    (horizon, along), landscape = view, canvas.label.copy()
    present = {kind for index, kind in enumerate(LANDSCAPE) if (landscape == index).sum() >= SMALLEST_LANDSCAPE}
    possible = [kind for kind, habit in HABITS.items() if present.intersection(habit.grounds)]
    weight = np.array([LABELLED_WEIGHT if kind in LABELLED else 1.0 for kind in possible])
    count = min(len(possible), int(rng.integers(1, 7)))
    feet = []
    for kind in map(str, rng.choice(possible, count, replace=False, p=weight / weight.sum())):
        habit = HABITS[kind]
        ground = np.isin(landscape, [LANDSCAPE.index(name) for name in habit.grounds])
        rows = _possible_rows(ground, habit, horizon)
        colors = habit.colors.split()
        usual = rng.choice(colors)  # often all of one colour, so that captions can count by colours
        for _ in range(min(int(rng.geometric(0.5)), habit.most) if len(rows) else 0):
            color = str(usual if rng.random() < 0.6 else rng.choice(colors))
            row = int(rows[rng.integers(len(rows))])
            feet.append((not habit.flies, row, kind, color, np.flatnonzero(ground[min(row, HEIGHT - 1)])))
    placed: list[tuple[str, str, str]] = []
    areas = np.zeros((2, 256), np.intp)
    feet = sorted(feet, key=lambda foot: foot[:4])
    colors = _painted([(kind, color) for _, _, kind, color, _ in feet], paint)
    for (_, row, kind, _, columns), color in zip(feet, colors, strict=True):
        x = _place_thing(rng, canvas, columns, (horizon, row), (kind, color, along), areas)
        if x is not None:
            placed.append((kind, color, LANDSCAPE[landscape[min(row, HEIGHT - 1), x]]))
    return placed


def _painted(things: list[tuple[str, str]], paint: int) -> list[str]:
    """Return the colours of (kind, colour) in a paint: those of the next kinds, or the kind's own next ones."""
    usual = dict(reversed(things))  # of each kind the first thing's colour
    kinds = list(usual)
    painted = []
    for kind, color in things:
        colors = HABITS[kind].colors.split()
        lent = usual[kinds[(kinds.index(kind) + paint) % len(kinds)]]
        own = colors[(colors.index(color) + paint) % len(colors)]
        painted.append(lent if paint and lent != color and lent in colors else own)
    return painted


def _possible_rows(ground: np.ndarray, habit: Habit, horizon: int) -> np.ndarray:
    """Return the rows in which a thing's feet may be: in reach, and where its ground is wide enough."""
    first, last = (
        horizon * (0.2 + 0.75 * depth) if habit.flies else horizon + (HEIGHT - horizon) * depth for depth in habit.depth
    )
    rows = np.arange(round(first), round(last) + 1)
    return rows[ground.sum(axis=1)[np.minimum(rows, HEIGHT - 1)] >= NARROWEST_GROUND]


def _place_thing(
    rng: Random,
    canvas: Canvas,
    columns: np.ndarray,  # where its ground is
    rows: tuple[int, int],  # of the horizon, and of the thing's feet
    look: tuple[str, str, bool],  # its kind, its colour, and whether the road leads away from us
    areas: np.ndarray,  # of the things that are there, (2, 256): in pixels when painted, and what is in sight of that
) -> int | None:
    """Paint a thing where it hides no other; return the column of its middle, or None without a place."""
    (horizon, row), (kind, color, along) = rows, look
    habit = HABITS[kind]
    nearness = rng.uniform(0.5, 1) if habit.flies else 0.4 + 0.6 * (row - horizon) / (HEIGHT - horizon)
    scale = 2 * nearness * HEIGHT  # of the image as seen from there, in the pixels of a sprite before it is halved
    more = {"building": (scale,), **dict.fromkeys(FACES_ROAD, (along,))}.get(kind, ())
    paint = pick(rng, COLORS[color], 0.04) * np.float32(habit.brightness)
    sprite = habit.draw(rng, round(scale * rng.uniform(*habit.height)), *more, paint)
    image, cover = halved(sprite)
    solid = cover > 0.5
    height, width = solid.shape
    if solid.sum() < SMALLEST_THING:
        return None
    index = len(LANDSCAPE) + np.count_nonzero(areas[0])
    for x in map(int, columns[rng.integers(len(columns), size=TRIES)]):
        left, top = x - width // 2, row - height + 1
        region, inside = canvas.overlap(left, top, solid.shape)
        hidden = np.bincount(canvas.label[region][solid[inside]], minlength=256)
        if solid[inside].sum() < IN_SIGHT * solid.sum():
            continue
        hidden[: len(LANDSCAPE)] = 0
        if (areas[1] - hidden < IN_SIGHT * areas[0]).any():
            continue
        if not habit.flies and kind not in ("building", "bridge", "tower"):
            canvas.shade(x, row, 0.6 * width, 0.08 * height, rng.uniform(0.3, 0.6))
        canvas.blend(image, cover, index, distance=0.3 * (1 - nearness) ** 2, x=left, y=top)
        areas[1] -= hidden
        areas[:, index] = solid[inside].sum()
        return x
    return None


def _visible_things(canvas: Canvas, placed: list[tuple[str, str, str]], weather: str, style: str) -> Iterator[Thing]:
    """Yield what can be seen, with the colours that the style lets be seen."""
    in_color = style != "line drawing"
    for index, kind in enumerate(LANDSCAPE):
        mask = canvas.label == index
        if mask.sum() >= SMALLEST_LANDSCAPE:
            color = SKY_COLORS.get(weather) if kind == "sky" and style == "day" else None
            yield Thing(kind, color, mask)
    for number, (kind, color, ground) in enumerate(placed, len(LANDSCAPE)):
        yield Thing(kind, color if in_color else None, canvas.label == number, ground)
