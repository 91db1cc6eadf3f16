"""The grounds: a colour ramp and textures for each, and the layouts in which they fill a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from miniatures.scenes.drawing import SUPERSAMPLING, Canvas, Colour, texture


@dataclass(frozen=True)
class GroundKind:
    """Ramps from dark to light (one is chosen), the noise tile that walks along them, and how strongly."""

    ramps: tuple[tuple[Colour, Colour], ...]
    tile: str
    tile_share: float  # period of the tile in shorter sides
    strength: float
    fade: float  # how much lighter the top is than the bottom, in ramp lengths


GROUND_KINDS: dict[str, GroundKind] = {
    "sky": GroundKind(
        (
            ((96, 166, 232), (206, 232, 250)),
            ((126, 182, 226), (240, 236, 226)),
            ((142, 140, 208), (252, 206, 186)),
            ((150, 168, 190), (216, 224, 230)),
            ((38, 48, 100), (84, 92, 156)),
        ),
        tile="streaks", tile_share=2.0, strength=0.35, fade=-0.8,
    ),
    "grass": GroundKind(
        (((58, 122, 36), (150, 200, 82)), ((76, 134, 52), (168, 206, 92)), ((42, 104, 48), (122, 178, 84))),
        tile="blades", tile_share=0.55, strength=0.9, fade=0.25,
    ),
    "water": GroundKind(
        (((18, 72, 134), (94, 168, 206)), ((14, 90, 126), (102, 190, 196)), ((24, 56, 112), (86, 138, 190))),
        tile="waves", tile_share=0.7, strength=1.0, fade=0.25,
    ),
    "sand": GroundKind(
        (
            ((206, 166, 98), (248, 222, 160)),
            ((216, 180, 124), (250, 230, 182)),
            ((198, 150, 92), (238, 202, 142)),
        ),
        tile="soft", tile_share=0.6, strength=0.6, fade=0.2,
    ),
    "road": GroundKind(
        (((82, 82, 88), (138, 137, 140)), ((70, 70, 80), (118, 118, 126)), ((98, 94, 92), (152, 146, 140))),
        tile="grain", tile_share=0.6, strength=0.5, fade=0.15,
    ),
    "snow": GroundKind(
        (
            ((196, 208, 232), (254, 254, 255)),
            ((204, 210, 222), (255, 253, 250)),
            ((188, 206, 226), (246, 250, 255)),
        ),
        tile="soft", tile_share=1.0, strength=0.6, fade=0.15,
    ),
}  # fmt: skip
_NIGHT = 170  # a sky whose light end stays below this in all channels has stars
_LOWER = tuple(kind for kind in GROUND_KINDS if kind != "sky")


@dataclass(frozen=True)
class Layout:
    """Which grounds a picture has, from the back to the front, and where they are."""

    kinds: tuple[str, ...]
    sky_end: float  # share of the height at which the sky ends, 0 without a sky
    spots: tuple[np.ndarray, ...]  # for each ground (n, 2) float: y, x in picture pixels on a coarse lattice
    spot_step: float

    @property
    def places(self) -> tuple[str, ...]:
        """The grounds on which something can be put."""
        return tuple(kind for kind, spots in zip(self.kinds, self.spots, strict=True) if len(spots))


def choose_kinds(rng: np.random.Generator, closeup: bool, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """One or two grounds for a close-up, else two to four, from back to front; the sky always comes first."""
    if wanted is not None:
        return _sky_first(wanted)
    if closeup:
        return _sky_first(rng.permutation(list(GROUND_KINDS))[: int(rng.integers(1, 3))].tolist())
    lower = rng.permutation(_LOWER)[: int(rng.choice((1, 2, 3), p=(0.3, 0.5, 0.2)))].tolist()
    return ("sky", *lower) if len(lower) == 1 or rng.random() < 0.85 else tuple(lower)


def _sky_first(kinds: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(kinds, key=lambda kind: kind != "sky"))


def lay_out(canvas: Canvas, kinds: tuple[str, ...], rng: np.random.Generator) -> Layout:
    """Paint the grounds over the whole canvas: id 1 is the one at the back."""
    height, width = canvas.size_hw
    canvas.ids[:] = 1
    count = len(kinds)
    first = rng.uniform(0.32, 0.55) if kinds[0] == "sky" else rng.uniform(0.25, 0.45)
    sky_end = 0.0 if kinds[0] != "sky" else first if count > 1 else 1.0
    borders = [first + (1 - first) * step / max(count - 1, 1) for step in range(count - 1)]
    for number, border in enumerate(borders):
        object_id = number + 2
        if kinds[number + 1] == "road" and number > 0 and rng.random() < 0.6:
            points = _track(rng, borders[0] * height, (height, width))
        else:
            y = (border + rng.uniform(-0.05, 0.05)) * height
            points = _front(rng, y, (height, width), kinds[number + 1])
        canvas.fill_polygon(points, object_id)
    colours = [_colour_in(canvas, number, kind, rng) for number, kind in enumerate(kinds, start=1)]
    if "road" in kinds:
        _mark_road(canvas, kinds.index("road") + 1, rng)
    if kinds[0] == "sky" and max(colours[0]) < _NIGHT:
        _light_stars(canvas, rng)
    step = max(min(canvas.ids.shape) // 32, 1)
    lattice = canvas.ids[::step, ::step]
    spots = tuple(np.argwhere(lattice == number) * (step / SUPERSAMPLING) for number in range(1, count + 1))
    return Layout(kinds, sky_end, spots, step / SUPERSAMPLING)


def _front(rng: np.random.Generator, y: float, size_hw: tuple[int, int], kind: str) -> np.ndarray:
    """Everything below a border that is wavy, slanted, or level for water."""
    height, width = size_hw
    x = np.linspace(-2, width + 2, 40)
    side = min(height, width)
    calm = 0.3 if kind == "water" else 1.0
    slope = rng.uniform(-0.14, 0.14) * calm
    line = y + slope * (x - width / 2) * min(1.0, height / width)
    for waves in (rng.uniform(0.4, 1.2), rng.uniform(1.5, 3)):
        line = line + calm * side * rng.uniform(0, 0.045) / waves**0.5 * np.sin(
            2 * np.pi * (waves * x / width + rng.random())
        )
    return np.concatenate([np.stack([x, line], axis=1), [(width + 2, height + 2), (-2, height + 2)]])


def _track(rng: np.random.Generator, horizon: float, size_hw: tuple[int, int]) -> np.ndarray:
    """A road that winds from the horizon to the lower border and widens on its way."""
    height, width = size_hw
    near, bend = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.15, 0.15) * width
    far = near + rng.uniform(-0.35, 0.35) * width
    way = np.linspace(0, 1, 24)
    middle = far + (near - far) * way**1.5 + bend * np.sin(np.pi * way)
    half = (0.025 + rng.uniform(0.14, 0.24) * way**1.3) * width
    y = horizon + (height + 4 - horizon) * way
    return np.concatenate([np.stack([middle - half, y], axis=1), np.stack([middle + half, y], axis=1)[::-1]])


def _colour_in(canvas: Canvas, object_id: int, kind: str, rng: np.random.Generator) -> Colour:
    """Give a ground a ramp, walked along by a noise tile and a fade; returns the ramp's light end."""
    ground = GROUND_KINDS[kind]
    dark, light = ground.ramps[rng.integers(len(ground.ramps))]
    jitter = rng.uniform(-12, 12, 3)
    strength = ground.strength * rng.uniform(0.6, 1.1)
    mask = cv2.inRange(canvas.ids, object_id, object_id)
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return light
    window = slice(int(rows[0]), int(rows[-1]) + 1)
    height, width = rows[-1] - rows[0] + 1, canvas.ids.shape[1]
    period = ground.tile_share * min(canvas.ids.shape) * rng.uniform(0.7, 1.4)
    plane = texture(ground.tile, (int(height), width), period, rng)
    fade = np.linspace(0.5 + ground.fade / 2, 0.5 - ground.fade / 2, int(height)) * 255 - 128 * strength
    column = cv2.resize(fade.astype(np.float32)[:, None], (width, int(height)))
    level = cv2.addWeighted(plane, strength, column, 1.0, 0.0, dtype=cv2.CV_8U)
    ramp = np.linspace(0, 1, 256)[:, None] * (np.array(light) - dark) + dark + jitter
    coloured = cv2.applyColorMap(level, np.clip(ramp, 0, 255).astype(np.uint8)[:, None])
    cv2.copyTo(coloured, mask[window], canvas.colours[window])
    return light


def _mark_road(canvas: Canvas, object_id: int, rng: np.random.Generator) -> None:
    """Dashes along the middle of a road: colour alone, the ids stay."""
    mask = cv2.inRange(canvas.ids, object_id, object_id)
    x, top, width, height = cv2.boundingRect(mask)
    if height < 8 * SUPERSAMPLING:
        return
    dashes, paint = int(rng.integers(4, 8)), (236, 226, 190) if rng.random() < 0.7 else (240, 200, 70)
    left, right = mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    winding = np.median((right - left)[top : top + height]) < 0.6 * mask.shape[1]
    lines = np.zeros_like(mask)
    for start, end in ((np.array((0.2, 0.7)) + step) / dashes for step in range(dashes)):
        if winding or height > 0.8 * width:
            y = np.arange(int(top + start * height), int(top + end * height))
            middle, half = (left[y] + right[y]) / 2, np.maximum((right[y] - left[y]) / 40, 1)
            sides = np.stack([middle - half, y], axis=1), np.stack([middle + half, y], axis=1)[::-1]
            cv2.fillPoly(lines, [np.concatenate(sides).astype(np.int32)], 255)
        else:
            line, half = top + 0.55 * height, max(height // 40, 1)
            first, last = (int(x + start * width), int(line - half)), (int(x + end * width), int(line + half))
            cv2.rectangle(lines, first, last, 255, cv2.FILLED)
    canvas.colours[(lines > 0) & (mask > 0)] = paint


def _light_stars(canvas: Canvas, rng: np.random.Generator) -> None:
    """Stars in the sky of a night."""
    sky = cv2.inRange(canvas.ids, 1, 1)
    height, width = sky.shape
    starry = canvas.colours.copy()
    for x, y, size in rng.random((26, 3)):
        radius = max(round((0.3 + size) * min(height, width) / 130), 1)
        cv2.circle(starry, (int(x * width), int(y * 0.6 * height)), radius, (255, 246, 200), -1)
    cv2.copyTo(starry, sky, canvas.colours)
