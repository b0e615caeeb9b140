"""Where the things of captioned scenes are found, how large they are there, and which colours they come in."""

from collections.abc import Callable
from typing import NamedTuple

from icpc_d2.data.scenes import moving_sprites as moving
from icpc_d2.data.scenes import sprites
from icpc_d2.data.scenes import standing_sprites as standing
from icpc_d2.data.scenes.drawing import Sprite

PAINTS = "red blue green yellow white black grey"


class Habit(NamedTuple):
    """How a kind of thing is drawn, in which colours, and where it is found."""

    draw: Callable[..., Sprite]
    grounds: tuple[str, ...]
    depth: tuple[float, float]  # range of its feet: 0 is the horizon, 1 the lower edge
    height: tuple[float, float]  # range, in heights of the image as seen from its distance
    colors: str  # names of vocabulary.COLORS, with blanks between them
    most: int = 3  # in one scene
    brightness: float = 1.0  # of its colours

    @property
    def flies(self) -> bool:
        """Whether it is found in the sky, where its size is not of its distance."""
        return self.grounds == ("sky",)


LAND = ("grass", "road")
HABITS: dict[str, Habit] = {
    "building": Habit(sprites.building, ("grass",), (0.0, 0.25), (0.5, 1.1), "red blue yellow white grey brown"),
    "tree": Habit(sprites.tree, ("grass",), (0.02, 0.7), (0.45, 0.9), "green orange brown", 5, 0.72),
    "car": Habit(sprites.car, ("road",), (0.15, 1.0), (0.2, 0.28), PAINTS, 4),
    "person": Habit(sprites.person, LAND, (0.2, 1.05), (0.34, 0.46), "red blue green yellow white black", 4),
    "boat": Habit(sprites.boat, ("water",), (0.08, 0.95), (0.32, 0.55), "white blue red brown black", 4),
    "bus": Habit(moving.bus, ("road",), (0.15, 0.9), (0.36, 0.44), "red blue green yellow white orange", 2),
    "bicycle": Habit(moving.bicycle, LAND, (0.25, 1.0), (0.26, 0.32), "red blue green yellow white"),
    "dog": Habit(moving.dog, LAND, (0.25, 1.0), (0.17, 0.22), "brown black white"),
    "cow": Habit(moving.cow, ("grass",), (0.15, 0.95), (0.24, 0.3), "brown black white", 4),
    "bird": Habit(moving.bird, ("sky",), (0.0, 1.0), (0.1, 0.15), "white black grey", 5),
    "plane": Habit(moving.plane, ("sky",), (0.0, 1.0), (0.13, 0.18), "white red blue yellow", 2),
    "balloon": Habit(moving.balloon, ("sky",), (0.0, 1.0), (0.28, 0.42), "red blue green yellow orange purple"),
    "bridge": Habit(standing.bridge, ("water", "road"), (0.05, 0.5), (0.24, 0.32), "grey brown red", 1),
    "tower": Habit(standing.tower, ("grass",), (0.0, 0.3), (0.85, 1.2), "grey white brown red", 2),
    "windmill": Habit(standing.windmill, ("grass",), (0.02, 0.35), (0.7, 1.0), "white brown red", 2),
    "tent": Habit(standing.tent, ("grass",), (0.15, 0.9), (0.26, 0.36), "red blue green yellow orange"),
    "bench": Habit(standing.bench, ("grass",), (0.2, 0.95), (0.19, 0.24), "brown green red white", 2),
    "fence": Habit(standing.fence, ("grass",), (0.1, 0.8), (0.17, 0.22), "white brown black", 2),
    "flag": Habit(standing.flag, ("grass",), (0.1, 0.8), (0.5, 0.75), "red blue green yellow white orange"),
    "street lamp": Habit(standing.street_lamp, LAND, (0.15, 0.8), (0.6, 0.8), "black grey green"),
    "sign": Habit(standing.sign, LAND, (0.2, 0.95), (0.36, 0.46), "red blue yellow", 2),
}
# Kinds whose drawing depends on the road's direction.
FACES_ROAD = ("car", "bus")
