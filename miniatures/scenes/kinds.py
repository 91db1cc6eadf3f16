"""What a kind of thing is, the colours that things may have, and the register of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from miniatures.scenes.drawing import Colour, Sketch

COLOUR_VALUES: dict[str, Colour] = {
    "red": (214, 40, 40), "orange": (245, 135, 31), "yellow": (250, 214, 45), "green": (56, 158, 62),
    "blue": (45, 98, 214), "purple": (142, 62, 178), "white": (243, 241, 236), "black": (44, 43, 50),
}  # fmt: skip
WOOD: Colour = (134, 88, 52)
INK: Colour = (28, 26, 34)
PAPER: Colour = (252, 250, 244)
LAND = ("grass", "sand", "snow", "road")

Draw = Callable[[Sketch, np.random.Generator, Colour], None]


@dataclass(frozen=True)
class ThingKind:
    """How a kind is drawn, where it likes to be, how large it usually is, and which colours it may have."""

    draw: Draw
    places: tuple[str, ...]
    height: float  # of the picture's side
    colours: tuple[str, ...]
    tilt: float  # largest lean, radians


REGISTERED: dict[str, ThingKind] = {}


def thing(
    places: tuple[str, ...],
    height: float,
    colours: tuple[str, ...] = tuple(COLOUR_VALUES),
    tilt: float = 0.06,
) -> Callable[[Draw], Draw]:
    """Register a drawing function, whose name is the kind's: it draws on y = 0, about one high."""

    def register(draw: Draw) -> Draw:
        REGISTERED[draw.__name__] = ThingKind(draw, places, height, colours, tilt)
        return draw

    return register
