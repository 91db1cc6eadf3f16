"""Things that somebody made, and their wheels, windows and doors."""

from __future__ import annotations

import numpy as np

from miniatures.scenes.drawing import Colour, Sketch, darker, lighter
from miniatures.scenes.kinds import INK, LAND, PAPER, WOOD, thing

GLASS: Colour = (176, 222, 242)
STEEL: Colour = (188, 192, 200)


@thing(("grass", "snow", "sand"), 0.42, tilt=0.02)
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


@thing(("road", "road", "sand", "grass", "snow"), 0.2, tilt=0.03)
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
            sketch.polygon([(left, -0.6), (left + slope_l, -0.93), (right - slope_r, -0.93), (right, -0.6)], GLASS)
    sketch.ellipse(long - 0.06, -0.42, 0.055, 0.07, (255, 240, 150))
    sketch.box(-long, -0.48, -long + 0.06, -0.36, (200, 40, 40))
    for x in (-long * 0.58, long * 0.58):
        with sketch.part("wheel"):
            sketch.ellipse(x, -0.19, 0.2, 0.2, INK)
            sketch.ellipse(x, -0.19, 0.1, 0.1, STEEL)


@thing(("water",), 0.34, tilt=0.1)
def boat(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    long = rng.uniform(0.5, 0.64)
    mast = rng.uniform(-0.1, 0.08)
    sketch.box(mast - 0.018, -1.0, mast + 0.018, -0.2, WOOD)
    sail = PAPER if sum(colour) < 640 else (235, 206, 160)
    sketch.polygon([(mast + 0.04, -0.97), (mast + 0.04, -0.34), (long * 0.86, -0.34)], sail)
    sketch.polygon([(mast - 0.04, -0.84), (mast - 0.04, -0.34), (-long * 0.66, -0.34)], darker(sail, 0.1))
    sketch.polygon([(-long, -0.27), (long, -0.27), (long * 0.66, 0), (-long * 0.72, 0)], colour)
    sketch.polygon([(-long, -0.27), (long, -0.27), (long * 0.92, -0.22), (-long * 0.94, -0.22)], lighter(colour, 0.5))
    for x in (-0.4, 0.0, 0.4):
        with sketch.part("window"):
            sketch.ellipse(x * long, -0.125, 0.045, 0.045, GLASS)


@thing(LAND, 0.13, tilt=3.0)
def ball(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    second = PAPER if sum(colour) < 640 else (70, 120, 200)
    sketch.ellipse(0, -0.5, 0.5, 0.5, colour)
    arc = np.linspace(-1, 1, 9)
    bend = rng.uniform(0.05, 0.3)
    edge = np.stack([0.49 * np.cos(np.pi * arc / 2.6) * 0 + bend + 0.12 * (1 - arc**2), -0.5 + 0.47 * arc], axis=1)
    left = np.stack([-bend + 0.05 - 0.12 * (1 - arc[::-1] ** 2), -0.5 + 0.47 * arc[::-1]], axis=1)
    if rng.random() < 0.6:
        sketch.polygon(np.concatenate([edge * (0.45, 1), left * (0.45, 1)]), second)
    else:
        for angle in np.arange(5) * 2 * np.pi / 5:
            sketch.ellipse(0.3 * np.cos(angle), -0.5 + 0.3 * np.sin(angle), 0.09, 0.09, second)
        sketch.ellipse(0, -0.5, 0.1, 0.1, second)


@thing(LAND, 0.24)
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


@thing(LAND, 0.13)
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


@thing(("road", "grass", "snow", "sand"), 0.4)
def lamp(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    wide = rng.uniform(0.17, 0.23)
    sketch.box(-0.03, -0.72, 0.03, -0.03, (84, 84, 94))
    sketch.polygon([(-0.16, 0), (-0.1, -0.06), (0.1, -0.06), (0.16, 0)], (66, 66, 76))
    sketch.ellipse(0, -0.7, wide * 0.5, 0.07, (255, 244, 170))
    sketch.polygon([(-wide, -0.7), (-wide * 0.5, -1.0), (wide * 0.5, -1.0), (wide, -0.7)], colour)
    sketch.polygon([(-wide, -0.7), (-wide * 0.97, -0.735), (wide * 0.97, -0.735), (wide, -0.7)], lighter(colour, 0.5))


@thing(("sky",), 0.24, tilt=0.5)
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
