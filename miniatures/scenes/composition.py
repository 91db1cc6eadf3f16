"""Composition: grounds, then things from far to near, with exact masks of what stays visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from miniatures.scenes.drawing import SUPERSAMPLING, Canvas, Colour, Sketch, noise_tile, texture
from miniatures.scenes.grounds import Layout, choose_kinds, lay_out
from miniatures.scenes.scene import GROUNDS, THINGS, Scene, SceneObject
from miniatures.scenes.things import COLOUR_VALUES, THING_KINDS

MAX_THINGS = 30  # ids are uint8 and a thing takes up to seven of them

_MIN_SHARE, _MIN_PIXELS = 0.0005, 6
_MIN_VISIBLE = 0.3  # a thing of which less than this share can be seen is not drawn at all


@dataclass(frozen=True)
class _Placed:
    """A thing that is ready to be painted: its polygons in picture pixels and where it stands."""

    kind: str
    colour: str
    sketch: Sketch
    depth: float  # things are painted in order of it, near ones last
    seed: int


@dataclass(frozen=True)
class _Spot:
    """Where a thing could stand, in picture pixels."""

    x: float
    y: float
    size: float
    depth: float


def render_scene(
    seed: int,
    size_hw: tuple[int, int],
    *,
    things: tuple[int, int] = (3, 8),
    closeup: bool = False,
    grounds: tuple[str, ...] | None = None,
) -> Scene:
    """Render a picture-book scene; the same seed and options give the same bytes.

    seed: a non-negative integer. size_hw: height and width in pixels, at least 16 each.
    things: the smallest and largest number of things to place; hidden ones are left out.
    closeup: one large thing before one or two grounds instead.
    grounds: exactly these grounds, from back to front; chosen by the seed when None.
    Raises ValueError for a picture below 16 pixels, too many things or an unknown ground.
    """
    if min(size_hw) < 16:
        raise ValueError(f"size_hw must be at least 16 x 16, not {size_hw}")
    if not 0 <= things[0] <= things[1] <= MAX_THINGS:
        raise ValueError(f"things must be (low, high) with 0 <= low <= high <= {MAX_THINGS}, not {things}")
    if grounds is not None and (not grounds or set(grounds) - set(GROUNDS)):
        raise ValueError(f"grounds must be some of {', '.join(GROUNDS)}, not {grounds}")
    rng = np.random.default_rng(seed)
    kinds = choose_kinds(rng, closeup, grounds)
    canvas = Canvas(size_hw)
    layout = lay_out(canvas, kinds, rng)
    if closeup:
        placed = [_place_closeup(rng, size_hw)]
    else:
        placed = _place_things(rng, canvas, layout, int(rng.integers(things[0], things[1] + 1)))
    light = rng.uniform(-1, 1, 2)
    background = canvas.colours.copy(), canvas.ids.copy()
    while True:
        owners = _paint_all(canvas, placed, light, len(kinds))
        hidden = _hidden(canvas, owners, size_hw)
        if not hidden:
            break
        placed = [thing for number, thing in enumerate(placed) if number not in hidden]
        canvas.colours[:], canvas.ids[:] = background
    return Scene(_finish(canvas.picture(), rng), _collect(canvas.labels(), kinds, placed, owners), seed)


def _sketch(kind: str, colour: str, rng: np.random.Generator, tilt: float) -> Sketch:
    """A thing in a pose of its own, still in unit coordinates."""
    sketch = Sketch()
    base: Colour = COLOUR_VALUES[colour]
    red, green, blue = (int(v) for v in np.clip(np.array(base) + rng.uniform(-14, 14, 3), 0, 255))
    THING_KINDS[kind].draw(sketch, rng, (red, green, blue))
    angle = rng.uniform(-tilt, tilt)
    cosine, sine = np.cos(angle), np.sin(angle)
    flip, stretch = rng.choice((-1.0, 1.0)), rng.uniform(0.88, 1.14)
    sketch.transform(np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([flip * stretch, 1.0]))
    return sketch


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _place_closeup(rng: np.random.Generator, size_hw: tuple[int, int]) -> _Placed:
    """One thing that fills 35 to 90 % of the picture, possibly cut a little by its border."""
    height, width = size_hw
    kind = _pick(THINGS, rng)
    colour = _pick(THING_KINDS[kind].colours, rng)
    sketch = _sketch(kind, colour, rng, THING_KINDS[kind].tilt * 1.6)
    x_min, y_min, x_max, y_max = sketch.bounds()
    scale = rng.uniform(0.45, 0.95) * min(width / (x_max - x_min), height / (y_max - y_min))
    wide, tall = (x_max - x_min) * scale, (y_max - y_min) * scale
    x = rng.uniform(-0.08 * wide, width - 0.92 * wide)
    y = rng.uniform(-0.06 * tall, height - 0.94 * tall)
    sketch.transform(np.eye(2) * scale, (x - x_min * scale, y - y_min * scale))
    return _Placed(kind, colour, sketch, y + tall, int(rng.integers(2**31)))


def _place_things(rng: np.random.Generator, canvas: Canvas, layout: Layout, count: int) -> list[_Placed]:
    """Things on grounds that suit them, ordered from far to near; of three spots each takes the emptiest."""
    suited = [kind for kind in THINGS if set(THING_KINDS[kind].places) & set(layout.places)]
    placed: list[_Placed] = []
    boxes: list[np.ndarray] = []
    for _ in range(count):
        kind = _pick(suited, rng)
        if kind == "sun":
            suited.remove(kind)  # one is enough
        colour = _pick(THING_KINDS[kind].colours, rng)
        sketch = _sketch(kind, colour, rng, THING_KINDS[kind].tilt)
        bounds = np.array(sketch.bounds())
        spots = [_spot(rng, kind, canvas, layout) for _ in range(3)]
        candidates = [bounds * spot.size + (spot.x, spot.y, spot.x, spot.y) for spot in spots]
        best = int(np.argmin([_overlap(box, boxes) for box in candidates]))
        spot = spots[best]
        boxes.append(candidates[best])
        sketch.transform(np.eye(2) * spot.size, (spot.x, spot.y))
        placed.append(_Placed(kind, colour, sketch, spot.depth, int(rng.integers(2**31))))
    return sorted(placed, key=lambda thing: thing.depth)


def _overlap(own: np.ndarray, boxes: Sequence[np.ndarray]) -> float:
    """The largest share of the smaller of two boxes (x_min, y_min, x_max, y_max) that they have in common."""
    worst = 0.0
    for box in boxes:
        wide = min(own[2], box[2]) - max(own[0], box[0])
        tall = min(own[3], box[3]) - max(own[1], box[1])
        if wide > 0 and tall > 0:
            smaller = min((own[2] - own[0]) * (own[3] - own[1]), (box[2] - box[0]) * (box[3] - box[1]))
            worst = max(worst, wide * tall / smaller)
    return worst


def _spot(rng: np.random.Generator, kind: str, canvas: Canvas, layout: Layout) -> _Spot:
    """A foot on a ground that suits the kind, and a size that grows the nearer it is."""
    height, width = canvas.size_hw
    ground = _pick([place for place in THING_KINDS[kind].places if place in layout.places], rng)
    spots = layout.spots[layout.kinds.index(ground)]
    y, x = spots[rng.integers(len(spots))] + rng.random(2) * layout.spot_step
    near = 0.0 if ground == "sky" else max(y / height - layout.sky_end, 0.0) / (1.001 - layout.sky_end) - 0.5
    side = min((height * width) ** 0.5, 1.35 * min(height, width))
    size = THING_KINDS[kind].height * side * rng.uniform(0.75, 1.35) * (1 + 0.6 * near)
    if ground == "water":
        return _Spot(x, y + 0.3 * size, size, depth=y)
    if ground != "sky":
        return _Spot(x, y, size, depth=y)
    y = max(min(y + size / 2, layout.sky_end * height * rng.uniform(0.75, 1.0) + size * 0.1), size * 0.8)
    # What is in the sky is far away, whatever its height in the picture.
    return _Spot(x, y, size, depth=y - height)


def _paint_all(canvas: Canvas, placed: Sequence[_Placed], light: np.ndarray, first: int) -> list[tuple[int, int, int]]:
    """Paint things in order; for each: first id, last id, samples covered before others came in front."""
    owners = []
    next_id = first + 1
    for thing in placed:
        last_id = next_id + len(thing.sketch.parts)
        window = canvas.paint(thing.sketch, next_id)
        painted = 0
        if canvas.ids[window].size:
            mask = cv2.inRange(canvas.ids[window], next_id, last_id)
            painted = int(np.count_nonzero(mask))
            shading = _light(mask, light, np.random.default_rng(thing.seed), min(canvas.ids.shape))
            canvas.shade(window, mask, shading)
        owners.append((next_id, last_id, painted))
        next_id = last_id + 1
    return owners


def _light(mask: np.ndarray, direction: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """(h, w) uint8 around 128: a slope in the direction of the light, a little texture, a dark silhouette."""
    height, width = mask.shape
    strength = rng.uniform(8, 26)
    corners = np.array([[-1, -1], [1, 1]]) * direction[0] + np.array([[-1, 1], [-1, 1]]) * direction[1]
    slope = cv2.resize((128 + strength * corners / 2).astype(np.float32), (width, height))
    plane = texture(("soft", "grain", "blades")[rng.integers(3)], (height, width), side * 0.6, rng)
    light = cv2.addWeighted(plane, 0.15, slope, 1.0, -0.15 * 128, dtype=cv2.CV_8U)
    thick = max(round(min(height, width) * 0.025), 1)
    inside = cv2.erode(mask, np.ones((2 * thick + 1, 2 * thick + 1), np.uint8), borderValue=255)
    outline = rng.uniform(0.45, 0.9)
    return np.where(inside > 0, light, (light * outline).astype(np.uint8))


def _hidden(canvas: Canvas, owners: Sequence[tuple[int, int, int]], size_hw: tuple[int, int]) -> set[int]:
    """Things of which too little can be seen: few pixels, or a small share of what was painted."""
    counts = np.bincount(canvas.ids.ravel(), minlength=256)
    least = max(_MIN_SHARE * size_hw[0] * size_hw[1], _MIN_PIXELS) * 1.3 * SUPERSAMPLING**2
    visible = [int(counts[first : last + 1].sum()) for first, last, _ in owners]
    return {
        number for number, (_, _, painted) in enumerate(owners) if visible[number] < max(least, _MIN_VISIBLE * painted)
    }


def _finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The light of the day over the whole picture, and the grain of the paper."""
    gain = rng.uniform(0.82, 1.1) * rng.uniform(0.94, 1.06, 3)
    grain = rng.uniform(0.0, 0.16)
    lit = cv2.transform(image, np.diag(gain))
    rows = (np.arange(image.shape[0]) + rng.integers(512)) % 512
    columns = (np.arange(image.shape[1]) + rng.integers(512)) % 512
    plane = noise_tile("grain")[rows[:, None], columns[None]]
    return cv2.addWeighted(lit, 1.0, cv2.merge([plane, plane, plane]), grain, -128 * grain)


def _collect(
    labels: np.ndarray,
    kinds: tuple[str, ...],
    placed: Sequence[_Placed],
    owners: Sequence[tuple[int, int, int]],
) -> tuple[SceneObject, ...]:
    """The objects with enough visible pixels. A part that is too small simply stays part of its thing."""
    least = max(_MIN_SHARE * labels.size, _MIN_PIXELS)
    counts = np.bincount(labels.ravel(), minlength=256)
    objects = [
        SceneObject(kind, "", "ground", labels == number)
        for number, kind in enumerate(kinds, start=1)
        if counts[number] >= least
    ]
    for thing, (first, last, _) in zip(placed, owners, strict=True):
        parent = len(objects)
        objects.append(SceneObject(thing.kind, thing.colour, "thing", (labels >= first) & (labels <= last)))
        for number, part in enumerate(thing.sketch.parts, start=first + 1):
            if counts[number] >= least:
                objects.append(SceneObject(part, "", "part", labels == number, parent))
    return tuple(objects)
