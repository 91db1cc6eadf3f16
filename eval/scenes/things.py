"""The things: one small drawing function a kind, each standing on y = 0 with a height of about one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eval.scenes.drawing import Colour, Sketch, darker, lighter

COLOUR_VALUES: dict[str, Colour] = {
    "red": (214, 40, 40), "orange": (245, 135, 31), "yellow": (250, 214, 45), "green": (56, 158, 62),
    "blue": (45, 98, 214), "purple": (142, 62, 178), "white": (243, 241, 236), "black": (44, 43, 50),
}  # fmt: skip
SKIN: tuple[Colour, ...] = ((250, 216, 185), (229, 184, 143), (181, 126, 84), (120, 79, 52))
WOOD: Colour = (134, 88, 52)
GLASS: Colour = (176, 222, 242)
INK: Colour = (28, 26, 34)
PAPER: Colour = (252, 250, 244)
STEEL: Colour = (188, 192, 200)

Draw = Callable[[Sketch, np.random.Generator, Colour], None]


@dataclass(frozen=True)
class ThingKind:
    """How a kind is drawn, where it likes to be, how large it usually is, and which colours it may have."""

    draw: Draw
    places: tuple[str, ...]
    height: float  # of the picture's shorter side
    colours: tuple[str, ...]
    tilt: float = 0.06  # largest lean, radians


THING_KINDS: dict[str, ThingKind] = {}
_ALL = tuple(COLOUR_VALUES)
_LAND = ("grass", "sand", "snow", "road")


def _thing(
    places: tuple[str, ...], height: float, colours: tuple[str, ...] = _ALL, tilt: float = 0.06
) -> Callable[[Draw], Draw]:
    def register(draw: Draw) -> Draw:
        THING_KINDS[draw.__name__] = ThingKind(draw, places, height, colours, tilt)
        return draw

    return register


@_thing(("grass", "snow", "sand"), 0.42, tilt=0.02)
def house(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    wide, wall = rng.uniform(0.38, 0.6), rng.uniform(0.5, 0.62)
    roof = (142, 62, 48) if rng.random() < 0.5 else (92, 84, 96)
    if rng.random() < 0.6:
        sketch.box(wide * 0.4, -1.0, wide * 0.62, -wall, darker(roof))
    sketch.box(-wide, -wall, wide, 0, colour)
    sketch.box(-wide, -0.06, wide, 0, darker(colour, 0.4))
    sketch.polygon([(-wide - 0.1, -wall + 0.02), (0, -1.0), (wide + 0.1, -wall + 0.02)], roof)
    with sketch.part("door"):
        door, half = rng.uniform(-0.5, 0.5) * wide, 0.095
        wood = darker(WOOD, 0.2) if sum(colour) > 240 else lighter(WOOD, 0.2)
        sketch.box(door - half, -0.34, door + half, 0, wood)
        sketch.ellipse(door + half * 0.55, -0.17, 0.022, 0.022, (250, 220, 90))
    for x in (-0.72 * wide, 0.72 * wide):
        if abs(x - door) > 0.24:
            _window(sketch, x, -wall * 0.62, 0.085)


def _window(sketch: Sketch, x: float, y: float, half: float) -> None:
    with sketch.part("window"):
        sketch.box(x - half, y - half, x + half, y + half, PAPER)
        inner = half * 0.78
        sketch.box(x - inner, y - inner, x + inner, y + inner, GLASS)
        sketch.box(x - half * 0.1, y - half, x + half * 0.1, y + half, PAPER)
        sketch.box(x - half, y - half * 0.1, x + half, y + half * 0.1, PAPER)


@_thing(("grass", "snow", "sand"), 0.46, ("green", "yellow", "orange", "red", "purple", "white"))
def tree(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    trunk = rng.uniform(0.05, 0.085)
    sketch.polygon([(-trunk * 1.5, 0), (-trunk * 0.7, -0.6), (trunk * 0.7, -0.6), (trunk * 1.5, 0)], WOOD)
    if rng.random() < 0.4:
        wide = rng.uniform(0.26, 0.36)
        for step, low in enumerate((-0.24, -0.46, -0.68)):
            reach = wide * (1 - 0.22 * step)
            shade = darker(colour, 0.16 - 0.08 * step)
            sketch.polygon([(-reach, low), (0, low - 0.36), (reach, low)], shade)
        return
    wide = rng.uniform(0.26, 0.36)
    blobs = [(-0.55, -0.52), (0.55, -0.52), (-0.35, -0.74), (0.4, -0.72), (0, -0.8), (0, -0.58)]
    for number, (x, y) in enumerate(blobs):
        sketch.ellipse(x * wide, y, wide * 0.66, 0.19, darker(colour, 0.14 if number < 2 else 0.0))
    for _ in range(4):
        x, y = rng.uniform(-0.6, 0.6) * wide, rng.uniform(-0.86, -0.5)
        sketch.ellipse(x, y, 0.06, 0.035, lighter(colour, 0.25))


@_thing(("road", "road", "sand", "grass", "snow"), 0.2, tilt=0.03)
def car(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    long, roof = rng.uniform(0.95, 1.15), rng.uniform(0.42, 0.52)
    low = -0.18
    sketch.polygon(
        [(-roof - 0.16, -0.56), (-roof + 0.08, -1.0), (roof - 0.1, -1.0), (roof + 0.24, -0.56)],
        darker(colour, 0.08),
    )
    body = [(-long, low), (-long, -0.5), (-long + 0.1, -0.6), (long - 0.2, -0.58), (long, -0.44), (long, low)]
    sketch.polygon(body, colour)
    sketch.box(-long, low - 0.07, long, low, darker(colour, 0.35))
    for left, right, slope_l, slope_r in ((-roof - 0.04, -0.05, 0.16, 0.0), (0.03, roof + 0.14, 0.0, 0.22)):
        with sketch.part("window"):
            sketch.polygon(
                [(left, -0.6), (left + slope_l, -0.93), (right - slope_r, -0.93), (right, -0.6)], GLASS
            )
    sketch.ellipse(long - 0.06, -0.42, 0.055, 0.07, (255, 240, 150))
    sketch.box(-long, -0.48, -long + 0.06, -0.36, (200, 40, 40))
    for x in (-long * 0.58, long * 0.58):
        with sketch.part("wheel"):
            sketch.ellipse(x, -0.19, 0.2, 0.2, INK)
            sketch.ellipse(x, -0.19, 0.1, 0.1, STEEL)


@_thing(("water",), 0.34, tilt=0.1)
def boat(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    long = rng.uniform(0.5, 0.64)
    mast = rng.uniform(-0.1, 0.08)
    sketch.box(mast - 0.018, -1.0, mast + 0.018, -0.2, WOOD)
    sail = PAPER if sum(colour) < 640 else (235, 206, 160)
    sketch.polygon([(mast + 0.04, -0.97), (mast + 0.04, -0.34), (long * 0.86, -0.34)], sail)
    sketch.polygon([(mast - 0.04, -0.84), (mast - 0.04, -0.34), (-long * 0.66, -0.34)], darker(sail, 0.1))
    sketch.polygon([(-long, -0.27), (long, -0.27), (long * 0.66, 0), (-long * 0.72, 0)], colour)
    sketch.polygon(
        [(-long, -0.27), (long, -0.27), (long * 0.92, -0.22), (-long * 0.94, -0.22)], lighter(colour, 0.5)
    )
    for x in (-0.4, 0.0, 0.4):
        with sketch.part("window"):
            sketch.ellipse(x * long, -0.125, 0.045, 0.045, GLASS)


@_thing(_LAND, 0.32)
def person(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    skin = SKIN[rng.integers(len(SKIN))]
    trousers = [(60, 68, 104), (112, 94, 76), (70, 74, 78)][rng.integers(3)]
    stride, lift = rng.uniform(0.03, 0.12), rng.uniform(-0.12, 0.26)
    for side in (-1, 1):
        sketch.stroke([(side * 0.05, -0.42), (side * stride, -0.03)], 0.085, trousers)
        sketch.ellipse(side * stride + 0.03, -0.022, 0.065, 0.03, INK)
    hand_y = -0.45 - (lift if rng.random() < 0.4 else -0.02)
    sketch.stroke([(-0.11, -0.71), (-0.24, -0.55), (-0.25, -0.43)], 0.065, darker(colour, 0.15))
    sketch.stroke([(0.11, -0.71), (0.24, -0.56), (0.27, hand_y)], 0.065, darker(colour, 0.15))
    for x, y in ((-0.25, -0.41), (0.27, hand_y)):
        sketch.ellipse(x, y, 0.036, 0.036, skin)
    sketch.polygon([(-0.14, -0.73), (0.14, -0.73), (0.13, -0.38), (-0.13, -0.38)], colour)
    sketch.box(-0.035, -0.79, 0.035, -0.72, skin)
    hair = [(60, 40, 28), (30, 26, 28), (196, 146, 70), (150, 70, 36)][rng.integers(4)]
    sketch.ellipse(0, -0.895, 0.115, 0.105, hair)
    sketch.ellipse(0.012, -0.872, 0.092, 0.092, skin)
    for x in (-0.02, 0.05):
        sketch.ellipse(x, -0.885, 0.012, 0.015, INK)


@_thing(("grass", "sand", "snow", "road"), 0.2)
def dog(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    back = darker(colour, 0.18)
    tail = rng.uniform(-1.0, -0.72)
    sketch.stroke([(-0.55, -0.56), (-0.7, -0.7), (-0.78, tail)], 0.09, colour)
    for x, shade in ((-0.38, back), (0.28, back), (-0.5, colour), (0.4, colour)):
        sketch.stroke([(x, -0.4), (x + rng.uniform(-0.05, 0.05), -0.05)], 0.12, shade)
    sketch.ellipse(-0.05, -0.5, 0.56, 0.2, colour)
    sketch.stroke([(0.4, -0.55), (0.56, -0.76)], 0.22, colour)
    sketch.ellipse(0.58, -0.82, 0.2, 0.16, colour)
    sketch.ellipse(0.78, -0.76, 0.15, 0.095, lighter(colour, 0.3))
    sketch.ellipse(0.91, -0.79, 0.045, 0.04, INK if sum(colour) > 200 else (120, 80, 80))
    sketch.ellipse(0.46, -0.76, 0.075, 0.19, darker(colour, 0.45), turn=0.25)
    sketch.ellipse(0.645, -0.87, 0.032, 0.036, INK if sum(colour) > 200 else PAPER)
    sketch.stroke([(0.4, -0.62), (0.5, -0.56)], 0.06, (225, 60, 60) if colour[0] < 200 else (50, 90, 200))


@_thing(("grass", "sand", "snow", "road"), 0.18)
def cat(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    curl = rng.uniform(0.4, 0.56)
    sketch.stroke(
        [(0.16, -0.08), (0.42, -0.1), (curl, -0.32), (curl - 0.08, -0.52)], 0.09, darker(colour, 0.15)
    )
    sketch.ellipse(0, -0.26, 0.27, 0.28, colour)
    sketch.ellipse(0, -0.2, 0.13, 0.17, lighter(colour, 0.35))
    for side in (-1, 1):
        sketch.ellipse(side * 0.11, -0.05, 0.1, 0.05, lighter(colour, 0.2))
        sketch.polygon([(side * 0.24, -0.66), (side * 0.23, -1.0), (side * 0.03, -0.82)], colour)
        sketch.polygon([(side * 0.19, -0.75), (side * 0.2, -0.92), (side * 0.09, -0.82)], (240, 160, 160))
    sketch.ellipse(0, -0.66, 0.27, 0.21, colour)
    eye = (90, 190, 70) if sum(colour) < 500 else (40, 90, 60)
    for side in (-1, 1):
        sketch.ellipse(side * 0.11, -0.68, 0.05, 0.06, PAPER if sum(colour) < 200 else eye)
        sketch.ellipse(side * 0.11, -0.68, 0.02, 0.05, INK)
        sketch.stroke([(side * 0.1, -0.57), (side * 0.36, -0.6)], 0.018, darker(PAPER, 0.5))
    sketch.polygon([(-0.04, -0.61), (0.04, -0.61), (0, -0.56)], (230, 110, 120))


@_thing(("water",), 0.15, tilt=0.3)
def fish(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    fin, tall = darker(colour, 0.25), rng.uniform(0.36, 0.46)
    sketch.polygon([(-0.55, -0.5), (-1.05, -0.5 - tall), (-0.9, -0.5), (-1.05, -0.5 + tall)], fin)
    sketch.polygon([(-0.3, -0.75), (0.05, -1.02), (0.3, -0.76)], fin)
    sketch.polygon([(-0.1, -0.25), (-0.25, 0.0), (0.2, -0.22)], fin)
    sketch.ellipse(0, -0.5, 0.72, tall * 0.86, colour)
    if rng.random() < 0.6:
        for x in (-0.28, 0.02):
            sketch.ellipse(x, -0.5, 0.05, tall * 0.72, lighter(colour, 0.6))
    sketch.polygon([(0.18, -0.5), (-0.08, -0.36), (-0.08, -0.6)], fin)
    sketch.ellipse(0.44, -0.58, 0.1, 0.1, PAPER)
    sketch.ellipse(0.46, -0.58, 0.05, 0.055, INK)


@_thing(("sky", "sky", "grass"), 0.13, tilt=0.25)
def bird(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    flap = rng.uniform(-1.05, -0.8)
    beak = (245, 150, 30) if colour[2] > 60 or colour[0] < 200 else (110, 70, 40)
    sketch.polygon(
        [(-0.4, -0.4), (-0.98, -0.56), (-0.9, -0.3), (-1.0, -0.12), (-0.4, -0.28)], darker(colour, 0.3)
    )
    sketch.polygon([(0.7, -0.58), (1.0, -0.5), (0.7, -0.42)], beak)
    sketch.ellipse(0, -0.34, 0.52, 0.25, colour)
    sketch.ellipse(0.56, -0.52, 0.24, 0.22, colour)
    sketch.ellipse(0.06, -0.24, 0.34, 0.13, lighter(colour, 0.4))
    sketch.polygon([(0.26, -0.4), (-0.1, flap), (-0.62, flap - 0.02), (-0.36, -0.34)], darker(colour, 0.22))
    sketch.ellipse(0.63, -0.57, 0.06, 0.065, PAPER)
    sketch.ellipse(0.645, -0.57, 0.032, 0.038, INK)
    for x in (-0.06, 0.12):
        sketch.stroke([(x, -0.14), (x - 0.06, -0.02)], 0.04, beak)


@_thing(("grass", "grass", "sand"), 0.2, ("red", "orange", "yellow", "blue", "purple", "white"), 0.15)
def flower(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    stem, leaf = (58, 132, 50), (74, 156, 58)
    sketch.stroke([(0, 0), (0.03, -0.4), (0, -0.7)], 0.06, stem)
    for side in (-1, 1):
        y = -rng.uniform(0.14, 0.34)
        sketch.ellipse(side * 0.16, y - 0.05, 0.16, 0.06, leaf, turn=-side * 0.55)
    count, first = int(rng.integers(5, 9)), rng.uniform(0, 1)
    for step in range(count):
        angle = first + 2 * np.pi * step / count
        x, y = 0.185 * np.cos(angle), -0.7 + 0.185 * np.sin(angle)
        sketch.ellipse(x, y, 0.14, 0.095, colour if step % 2 else darker(colour, 0.1), turn=angle)
    heart = (250, 214, 45) if colour[2] > 90 or colour[1] < 120 else (110, 66, 36)
    sketch.ellipse(0, -0.7, 0.105, 0.105, heart)


@_thing(("grass", "grass", "sand"), 0.17, ("red", "orange", "yellow", "blue", "purple", "white"), 0.12)
def mushroom(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    stalk = (240, 228, 204)
    wide, low = rng.uniform(0.42, 0.56), -0.46
    sketch.polygon([(-0.17, 0), (-0.11, low), (0.11, low), (0.17, 0)], stalk)
    sketch.ellipse(0, low - 0.01, wide * 0.9, 0.085, darker(stalk, 0.3))
    arc = np.linspace(np.pi, 2 * np.pi, 16)
    sketch.polygon(np.stack([wide * np.cos(arc), low + 0.52 * np.sin(arc)], axis=1), colour)
    spot = PAPER if sum(colour) < 660 else (214, 60, 50)
    for x, y, radius in (
        (-0.5, 0.12, 0.07),
        (-0.1, 0.36, 0.085),
        (0.38, 0.24, 0.075),
        (0.06, 0.12, 0.055),
        (0.74, 0.08, 0.05),
    ):
        sketch.ellipse(x * wide, low - y, radius, radius * 0.85, spot)


@_thing(("sky",), 0.22, ("yellow", "orange", "red"), 0.3)
def sun(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    count, first = int(rng.integers(8, 13)), rng.uniform(0, 1)
    for step in range(count):
        angle = first + 2 * np.pi * step / count
        tips = [(0.34, angle - 0.16), (0.5, angle), (0.34, angle + 0.16)]
        sketch.polygon([(r * np.cos(a), -0.5 + r * np.sin(a)) for r, a in tips], colour)
    sketch.ellipse(0, -0.5, 0.315, 0.315, colour)
    sketch.ellipse(0, -0.5, 0.26, 0.26, lighter(colour, 0.25))
    if rng.random() < 0.5:
        for x in (-0.09, 0.09):
            sketch.ellipse(x, -0.56, 0.028, 0.04, (150, 80, 30))
        sketch.stroke([(-0.12, -0.44), (0, -0.38), (0.12, -0.44)], 0.035, (150, 80, 30))


@_thing(("sky",), 0.15, ("white", "black", "blue", "orange"), 0.05)
def cloud(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    if sum(colour) < 200:
        colour = lighter(colour, 0.25)
    elif sum(colour) < 600:
        colour = lighter(colour, 0.35)
    for layer, shade in ((0.0, darker(colour, 0.14)), (-0.08, colour)):
        for x, y, radius in (
            (-0.75, -0.3, 0.27),
            (-0.3, -0.52, 0.36),
            (0.25, -0.56, 0.4),
            (0.78, -0.32, 0.28),
        ):
            grow = rng.uniform(0.9, 1.08)
            sketch.ellipse(x, y + layer, radius * 1.25 * grow, radius * grow, shade)
        sketch.box(-0.8, -0.4 + layer, 0.8, -0.04 + layer, shade)


@_thing(_LAND, 0.13, tilt=3.0)
def ball(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    second = PAPER if sum(colour) < 640 else (70, 120, 200)
    sketch.ellipse(0, -0.5, 0.5, 0.5, colour)
    arc = np.linspace(-1, 1, 9)
    bend = rng.uniform(0.05, 0.3)
    edge = np.stack(
        [0.49 * np.cos(np.pi * arc / 2.6) * 0 + bend + 0.12 * (1 - arc**2), -0.5 + 0.47 * arc], axis=1
    )
    left = np.stack([-bend + 0.05 - 0.12 * (1 - arc[::-1] ** 2), -0.5 + 0.47 * arc[::-1]], axis=1)
    if rng.random() < 0.6:
        sketch.polygon(np.concatenate([edge * (0.45, 1), left * (0.45, 1)]), second)
    else:
        for angle in np.arange(5) * 2 * np.pi / 5:
            sketch.ellipse(0.3 * np.cos(angle), -0.5 + 0.3 * np.sin(angle), 0.09, 0.09, second)
        sketch.ellipse(0, -0.5, 0.1, 0.1, second)


@_thing(_LAND, 0.24)
def chair(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    leg, deep = darker(colour, 0.3), rng.uniform(0.24, 0.3)
    for x, y in ((-deep, -0.04), (deep - 0.06, -0.04), (-deep + 0.13, -0.1), (deep + 0.1, -0.1)):
        sketch.box(x - 0.035, -0.46, x + 0.035, y + 0.04, leg)
    sketch.box(-deep - 0.03, -1.0, -deep + 0.06, -0.44, colour)
    sketch.box(deep - 0.09, -1.0, deep, -0.44, colour)
    for y in (-0.96, -0.8, -0.64):
        sketch.box(-deep, y, deep - 0.05, y + 0.1, lighter(colour, 0.12))
    seat = [(-deep - 0.04, -0.4), (-deep + 0.06, -0.52), (deep + 0.17, -0.52), (deep + 0.07, -0.4)]
    sketch.polygon(seat, lighter(colour, 0.2))
    sketch.polygon([seat[0], seat[3], (seat[3][0], -0.34), (seat[0][0], -0.34)], colour)


@_thing(_LAND, 0.13)
def cup(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    top, foot = rng.uniform(0.38, 0.46), rng.uniform(0.26, 0.34)
    ring = np.linspace(-1.4, 1.4, 12)
    outer = np.stack([top * 0.8 + 0.3 * np.cos(ring), -0.46 + 0.27 * np.sin(ring)], axis=1)
    inner = np.stack([top * 0.8 + 0.18 * np.cos(ring[::-1]), -0.46 + 0.15 * np.sin(ring[::-1])], axis=1)
    sketch.polygon(np.concatenate([outer, inner]), darker(colour, 0.12))
    sketch.polygon(
        [(-top, -0.84), (top, -0.84), (foot, -0.04), (foot * 0.8, 0), (-foot * 0.8, 0), (-foot, -0.04)],
        colour,
    )
    sketch.ellipse(0, -0.84, top, 0.13, lighter(colour, 0.35))
    sketch.ellipse(0, -0.82, top * 0.84, 0.09, (92, 56, 34))
    band = PAPER if sum(colour) < 600 else (80, 130, 200)
    share = 0.55
    sketch.polygon([(-top * 0.93, -0.6), (top * 0.93, -0.6), (top * 0.93 * share + foot * (1 - share), -0.4),
                    (-top * 0.93 * share - foot * (1 - share), -0.4)], band)  # fmt: skip


@_thing(("road", "grass", "snow", "sand"), 0.4)
def lamp(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    wide = rng.uniform(0.17, 0.23)
    sketch.box(-0.03, -0.72, 0.03, -0.03, (84, 84, 94))
    sketch.polygon([(-0.16, 0), (-0.1, -0.06), (0.1, -0.06), (0.16, 0)], (66, 66, 76))
    sketch.ellipse(0, -0.7, wide * 0.5, 0.07, (255, 244, 170))
    sketch.polygon([(-wide, -0.7), (-wide * 0.5, -1.0), (wide * 0.5, -1.0), (wide, -0.7)], colour)
    sketch.polygon(
        [(-wide, -0.7), (-wide * 0.97, -0.735), (wide * 0.97, -0.735), (wide, -0.7)], lighter(colour, 0.5)
    )


@_thing(("sky",), 0.24, tilt=0.5)
def kite(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    second = lighter(colour, 0.55) if sum(colour) < 640 else (230, 90, 90)
    wide = rng.uniform(0.3, 0.38)
    tail = [(0, -0.36), (0.08, -0.27), (-0.07, -0.17), (0.07, -0.08), (0, 0)]
    sketch.stroke(tail, 0.028, darker(colour, 0.2))
    for x, y in tail[1:4]:
        sketch.polygon(
            [(x - 0.09, y - 0.045), (x - 0.09, y + 0.045), (x + 0.09, y - 0.045), (x + 0.09, y + 0.045)],
            second,
        )
    top, low, middle = -1.0, -0.34, -0.76
    sketch.polygon([(0, top), (wide, middle), (0, low), (-wide, middle)], colour)
    sketch.polygon([(0, top), (wide, middle), (0, middle)], second)
    sketch.polygon([(0, low), (-wide, middle), (0, middle)], second)
