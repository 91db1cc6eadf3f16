"""Things that grew or came by themselves: plants, animals, people, and what is in the sky."""

from __future__ import annotations

import numpy as np

from miniatures.scenes.drawing import Colour, Sketch, darker, lighter
from miniatures.scenes.kinds import INK, LAND, PAPER, WOOD, thing

SKIN: tuple[Colour, ...] = ((250, 216, 185), (229, 184, 143), (181, 126, 84), (120, 79, 52))


@thing(("grass", "snow", "sand"), 0.46, ("green", "yellow", "orange", "red", "purple", "white"))
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


@thing(LAND, 0.32)
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


@thing(("grass", "sand", "snow", "road"), 0.2)
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


@thing(("grass", "sand", "snow", "road"), 0.18)
def cat(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    curl = rng.uniform(0.4, 0.56)
    sketch.stroke([(0.16, -0.08), (0.42, -0.1), (curl, -0.32), (curl - 0.08, -0.52)], 0.09, darker(colour, 0.15))
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


@thing(("water",), 0.15, tilt=0.3)
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


@thing(("sky", "sky", "grass"), 0.13, tilt=0.25)
def bird(sketch: Sketch, rng: np.random.Generator, colour: Colour) -> None:
    flap = rng.uniform(-1.05, -0.8)
    beak = (245, 150, 30) if colour[2] > 60 or colour[0] < 200 else (110, 70, 40)
    sketch.polygon([(-0.4, -0.4), (-0.98, -0.56), (-0.9, -0.3), (-1.0, -0.12), (-0.4, -0.28)], darker(colour, 0.3))
    sketch.polygon([(0.7, -0.58), (1.0, -0.5), (0.7, -0.42)], beak)
    sketch.ellipse(0, -0.34, 0.52, 0.25, colour)
    sketch.ellipse(0.56, -0.52, 0.24, 0.22, colour)
    sketch.ellipse(0.06, -0.24, 0.34, 0.13, lighter(colour, 0.4))
    sketch.polygon([(0.26, -0.4), (-0.1, flap), (-0.62, flap - 0.02), (-0.36, -0.34)], darker(colour, 0.22))
    sketch.ellipse(0.63, -0.57, 0.06, 0.065, PAPER)
    sketch.ellipse(0.645, -0.57, 0.032, 0.038, INK)
    for x in (-0.06, 0.12):
        sketch.stroke([(x, -0.14), (x - 0.06, -0.02)], 0.04, beak)


@thing(("grass", "grass", "sand"), 0.2, ("red", "orange", "yellow", "blue", "purple", "white"), 0.15)
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


@thing(("grass", "grass", "sand"), 0.17, ("red", "orange", "yellow", "blue", "purple", "white"), 0.12)
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


@thing(("sky",), 0.22, ("yellow", "orange", "red"), 0.3)
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


@thing(("sky",), 0.15, ("white", "black", "blue", "orange"), 0.05)
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
