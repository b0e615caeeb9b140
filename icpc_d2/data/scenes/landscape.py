"""The ground of the generated scenes: sky, mountains, grass, water and road."""

from dataclasses import dataclass

import cv2
import numpy as np

from icpc_d2.data.scenes.drawing import (
    GRASS,
    MOUNTAIN,
    ROAD,
    SKY,
    WATER,
    Canvas,
    Random,
    fractal,
    gradient,
    noise,
    pick,
    textured,
)

# (zenith, horizon): fair, overcast, dusk, pale, stormy.
SKIES = [
    ((0.25, 0.48, 0.80), (0.70, 0.82, 0.92)),
    ((0.52, 0.55, 0.59), (0.72, 0.73, 0.74)),
    ((0.30, 0.30, 0.50), (0.90, 0.62, 0.42)),
    ((0.55, 0.70, 0.85), (0.88, 0.88, 0.84)),
    ((0.28, 0.31, 0.37), (0.52, 0.56, 0.60)),
]
ROCKS = [(0.36, 0.40, 0.46), (0.38, 0.34, 0.30), (0.26, 0.34, 0.24), (0.42, 0.36, 0.44)]
GRASSES = [(0.30, 0.46, 0.18), (0.22, 0.36, 0.14), (0.54, 0.48, 0.24), (0.40, 0.42, 0.24)]
WATERS = [(0.16, 0.32, 0.46), (0.22, 0.40, 0.40), (0.32, 0.38, 0.42)]
PAVINGS = [(0.36, 0.36, 0.38), (0.52, 0.52, 0.52), (0.24, 0.24, 0.27), (0.50, 0.41, 0.30)]


@dataclass(frozen=True)
class Ground:
    """What the layout must know about a landscape.

    Attributes:
        horizon: row of the horizon.
        road: mask of the road, all False when there is none.
        road_leads_away: the road runs along the line of sight, not across it.
    """

    horizon: int
    road: np.ndarray
    road_leads_away: bool

    def depth_scale(self, y: float) -> float:
        """Size of things that stand at row y, as a share of their size at the lower edge."""
        return 0.4 + 0.6 * (y - self.horizon) / (self.road.shape[0] - self.horizon)


def draw_landscape(rng: Random, height: int, width: int) -> tuple[Canvas, Ground]:
    """Draw a landscape of the given size in pixels."""
    horizon = round(height * rng.uniform(0.32, 0.52))
    zenith, haze = (pick(rng, [color]) for color in SKIES[rng.integers(len(SKIES))])
    canvas = Canvas(height, width, haze)
    _draw_sky(rng, canvas, zenith, horizon)
    if rng.random() < 0.6:
        _draw_mountains(rng, canvas, horizon)
    _draw_grass(rng, canvas, horizon)
    has_road = rng.random() < 0.75
    leads_away = bool(rng.random() < 0.5)
    water = np.zeros((height, width), bool)
    if not has_road or rng.random() < 0.45:
        water = _water_mask(rng, height, width, horizon, far_side=has_road)
        _draw_water(rng, canvas, horizon, water)
    road = np.zeros((height, width), bool)
    if has_road:
        road = _draw_road(rng, canvas, horizon, leads_away, water)
    return canvas, Ground(horizon, road, leads_away)


def _rows_and_columns(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    height, width = canvas.label.shape
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]


def _draw_sky(rng: Random, canvas: Canvas, zenith: np.ndarray, horizon: int) -> None:
    height, width = canvas.label.shape
    picture = np.concatenate(
        [gradient(zenith, canvas.haze, horizon, width), np.broadcast_to(canvas.haze, (height - horizon, width, 3))]
    )
    cloud = np.float32(min(1.0, float(canvas.haze.mean()) + rng.uniform(-0.15, 0.25)))
    density = fractal(rng, height, width, height / 6, stretch=2.5) + rng.uniform(-0.8, 0.5)
    cover = (density * 1.2).clip(0, 0.9)[:, :, None]
    canvas.paint(picture * (1 - cover) + cloud * cover, np.ones((height, width), bool), SKY)


def _draw_mountains(rng: Random, canvas: Canvas, horizon: int) -> None:
    height, width = canvas.label.shape
    rows, _ = _rows_and_columns(canvas)
    rock = pick(rng, ROCKS)
    snow_line = horizon - height * rng.uniform(0.1, 0.4)
    ranges = int(rng.integers(1, 4))
    for number in range(ranges):
        peak = height * rng.uniform(0.10, 0.30) * (1 - 0.2 * number)
        outline = _outline(rng, width)
        ridge = horizon - peak * outline
        mask = (rows >= ridge[None, :]) & (rows < horizon + 2)
        slope = np.gradient(cv2.GaussianBlur(ridge[None, :], (0, 0), 3)[0])
        folds = fractal(rng, height, width, height / 12, stretch=0.6) + 0.6 * np.sign(slope)[None, :]
        picture = textured(rock, folds, 0.22)
        snow = mask & (rows + 6 * folds < snow_line) & (rows < ridge[None, :] + 0.4 * peak)
        picture[snow] = 0.25 * picture[snow] + 0.68
        canvas.paint(picture.clip(0, 1), mask, MOUNTAIN, distance=0.45 - 0.15 * number)


def _outline(rng: Random, width: int) -> np.ndarray:
    """Jagged heights, 0..1, for each column."""
    heights = np.zeros(width, np.float32)
    for octave in range(5):
        knots = np.linspace(0, width - 1, 4 * 2**octave + 1)
        heights += np.interp(np.arange(width), knots, rng.uniform(0, 1, len(knots))).astype(np.float32) * 0.5**octave
    return (heights / heights.max()) ** 1.3


def _draw_grass(rng: Random, canvas: Canvas, horizon: int) -> None:
    height, width = canvas.label.shape
    rows, _ = _rows_and_columns(canvas)
    depth = ((rows - horizon) / (height - horizon)).clip(0, 1)
    blades = noise(rng, height, width, 7.0, 2.0) * (0.35 + 0.65 * depth)
    patches = fractal(rng, height, width, height / 10, stretch=3.0)
    picture = textured(pick(rng, GRASSES), 0.7 * blades + 0.5 * patches, 0.3)
    far = (0.35 * (1 - depth))[:, :, None]
    canvas.paint(
        (picture * (1 - far) + canvas.haze * far).clip(0, 1), np.broadcast_to(rows >= horizon, (height, width)), GRASS
    )


def _water_mask(rng: Random, height: int, width: int, horizon: int, far_side: bool) -> np.ndarray:
    """A lake that begins at the horizon, or (unless `far_side`) one that reaches the lower edge."""
    rows = np.arange(height)[:, None]
    wave = fractal(rng, 2, width, 4.0, stretch=width / 8, octaves=3)[0]
    depth = height - horizon
    if far_side or rng.random() < 0.6:
        shore = horizon + depth * (rng.uniform(0.25, 0.4) if far_side else rng.uniform(0.4, 0.75)) + 0.07 * depth * wave
        return (rows >= horizon) & (rows < shore[None, :])
    shore = horizon + depth * rng.uniform(0.25, 0.55) + 0.07 * depth * wave
    return rows >= shore[None, :]


def _draw_water(rng: Random, canvas: Canvas, horizon: int, mask: np.ndarray) -> None:
    height, width = canvas.label.shape
    rows, _ = _rows_and_columns(canvas)
    depth = ((rows - horizon) / (height - horizon)).clip(0, 1)
    mirror = canvas.image[np.clip(2 * horizon - np.arange(height), 0, horizon)]
    share = rng.uniform(0.35, 0.65)
    picture = mirror * share + pick(rng, WATERS) * (1 - share)
    ripples = noise(rng, height, width, 3.0, 22.0) * (0.4 + 0.6 * depth) + 0.5 * noise(rng, height, width, 8.0, 60.0)
    picture = picture * (1 + 0.16 * ripples[:, :, None])
    picture[ripples > 1.0] += 0.15
    canvas.paint(picture.clip(0, 1), mask, WATER)


def _draw_road(rng: Random, canvas: Canvas, horizon: int, leads_away: bool, water: np.ndarray) -> np.ndarray:
    """Draw a road and return its mask."""
    rows, columns = _rows_and_columns(canvas)
    height, width = canvas.label.shape
    t = ((rows - horizon) / (height - horizon)).clip(1e-3, 1)
    if leads_away:
        vanishing, foot = rng.uniform(0.25, 0.75, 2) * width
        bend = rng.normal(0, 0.35) * width
        middle = vanishing + (foot - vanishing) * t + bend * t * (1 - t)
        half = width * (0.012 + rng.uniform(0.22, 0.4) * t)
        across = (columns - middle) / half
        dashes = np.sin(rng.uniform(2.5, 4) * np.pi * np.log(t)) > 0
        mask = (np.abs(across) < 1) & (rows >= horizon)
    else:
        level = horizon + (height - horizon) * rng.uniform(0.5, 0.78)
        middle = level + rng.normal(0, 0.04) * (columns - width / 2)
        half = (height - horizon) * rng.uniform(0.13, 0.22)
        across = (rows - middle) / half
        dashes = np.broadcast_to(np.sin(columns * 2 * np.pi / (0.22 * width)) > 0, canvas.label.shape)
        mask = np.abs(across) < 1
    mask = mask & ~water
    grain = 0.5 * noise(rng, height, width, 1.5, 1.5) + 0.6 * fractal(rng, height, width, height / 8, stretch=2.0)
    picture = textured(pick(rng, PAVINGS), grain, 0.13)
    marking = rng.random()
    if marking < 0.75:
        paint = np.float32([0.88, 0.87, 0.82]) if marking < 0.5 else np.float32([0.85, 0.70, 0.25])
        picture[(np.abs(across) < 0.05) & dashes] = paint
        picture[np.abs(np.abs(across) - 0.9) < 0.035] = paint * 0.95
    canvas.paint(picture.clip(0, 1), mask, ROAD, distance=0.08)
    return mask
