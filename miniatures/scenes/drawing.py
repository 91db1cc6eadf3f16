"""Sketches in unit coordinates, and a supersampled canvas that paints them with an exact label plane.

A sketch stands on y = 0 and grows upwards to about y = -1 (y points down, as in pictures). The canvas
keeps colours and object ids side by side at twice the picture's size, and both are filled from the same
polygons, so a mask can not disagree with what is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

Colour = tuple[int, int, int]
SUPERSAMPLING = 2
TILE_SIZE = 512
_FIXED_POINT_BITS = 4
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 28, endpoint=False)),
                    np.sin(np.linspace(0, 2 * np.pi, 28, endpoint=False))], axis=1)  # fmt: skip


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from first to second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """The colour moved towards a soft black."""
    return mix(colour, (25, 20, 30), share)


def lighter(colour: Colour, share: float = 0.4) -> Colour:
    """The colour moved towards a warm white."""
    return mix(colour, (255, 252, 244), share)


@dataclass
class Sketch:
    """Filled polygons in unit coordinates, each belonging to the thing (part -1) or to one of its parts."""

    polygons: list[tuple[np.ndarray, Colour, int]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    _part: int = -1

    @contextmanager
    def part(self, kind: str) -> Iterator[None]:
        """What is drawn inside this context is a part of its own."""
        self.parts.append(kind)
        self._part = len(self.parts) - 1
        try:
            yield
        finally:
            self._part = -1

    def polygon(self, points: Sequence[Sequence[float]] | np.ndarray, colour: Colour) -> None:
        """Fill a closed polygon of (x, y) points."""
        self.polygons.append((np.asarray(points, dtype=np.float64), colour, self._part))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        """Fill an ellipse around (x, y), turned by `turn` radians."""
        points = _CIRCLE * (rx, ry)
        if turn:
            cosine, sine = np.cos(turn), np.sin(turn)
            points = points @ np.array([[cosine, sine], [-sine, cosine]])
        self.polygon(points + np.array((x, y)), colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def stroke(self, points: Sequence[Sequence[float]], width: float, colour: Colour) -> None:
        """Draw a polyline of that width with round ends."""
        path = np.asarray(points, dtype=np.float64)
        for start, end in pairwise(path):
            angle = np.arctan2(end[1] - start[1], end[0] - start[0])
            arc = angle + np.linspace(np.pi / 2, 3 * np.pi / 2, 6)
            cap = np.stack([np.cos(arc), np.sin(arc)], axis=1) * (width / 2)
            self.polygon(np.concatenate([start + cap, end - cap]), colour)

    def transform(self, matrix: np.ndarray, offset: Sequence[float] = (0.0, 0.0)) -> None:
        """Apply points @ matrix.T + offset to everything drawn so far."""
        self.polygons = [(points @ matrix.T + offset, colour, part) for points, colour, part in self.polygons]

    def bounds(self) -> tuple[float, float, float, float]:
        """x_min, y_min, x_max, y_max of everything drawn."""
        points = np.concatenate([polygon[0] for polygon in self.polygons])
        (x_min, y_min), (x_max, y_max) = points.min(axis=0), points.max(axis=0)
        return float(x_min), float(y_min), float(x_max), float(y_max)


@lru_cache(maxsize=8)
def noise_tile(name: str) -> np.ndarray:
    """A seamless (TILE_SIZE, TILE_SIZE) uint8 texture of mean 128: grain, soft, waves, blades, streaks."""
    exponent, stretch_y, stretch_x = {
        "grain": (0.3, 1.0, 1.0), "soft": (1.6, 1.0, 1.0), "waves": (1.1, 6.0, 1.0),
        "blades": (0.8, 1.0, 4.0), "streaks": (1.8, 3.0, 1.0),
    }[name]  # fmt: skip
    rng = np.random.default_rng(sum(name.encode()))
    spectrum = np.fft.rfft2(rng.standard_normal((TILE_SIZE, TILE_SIZE)))
    y = np.fft.fftfreq(TILE_SIZE)[:, None] * TILE_SIZE
    x = np.fft.rfftfreq(TILE_SIZE)[None] * TILE_SIZE
    # A long feature along x means that energy sits at low x frequencies: scale that axis up in the norm.
    radius = np.hypot(y * stretch_x, x * stretch_y)
    radius[0, 0] = 1.0
    spectrum *= np.clip(radius / 6, 1, None) ** -exponent
    spectrum[0, 0] = 0
    plane = np.fft.irfft2(spectrum, s=(TILE_SIZE, TILE_SIZE))
    return np.asarray(np.clip(128 + plane / plane.std() * 38, 0, 255), dtype=np.uint8)


def texture(name: str, size_hw: tuple[int, int], tile_px: float, rng: np.random.Generator) -> np.ndarray:
    """A random (H, W) uint8 cut of a noise tile with a period of `tile_px` samples; smooth within a pixel."""
    height, width = size_hw
    step = TILE_SIZE / tile_px * SUPERSAMPLING
    x, y = rng.random(2) * TILE_SIZE
    matrix = np.array([[step, 0, x], [0, step, y]])
    small = -(-width // SUPERSAMPLING), -(-height // SUPERSAMPLING)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    plane = cv2.warpAffine(noise_tile(name), matrix, small, flags=flags, borderMode=cv2.BORDER_WRAP)
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)


class Canvas:
    """Colours (2H, 2W, 3) and object ids (2H, 2W), both uint8; a later id is in front of an earlier one."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.size_hw = size_hw
        height, width = size_hw[0] * SUPERSAMPLING, size_hw[1] * SUPERSAMPLING
        self.colours = np.zeros((height, width, 3), dtype=np.uint8)
        self.ids = np.zeros((height, width), dtype=np.uint8)

    def fill_polygon(self, points: np.ndarray, object_id: int) -> None:
        """Give the ids of a polygon (in picture pixels) to an object, colours untouched."""
        cv2.fillPoly(self.ids, [self._fixed(points)], object_id, shift=_FIXED_POINT_BITS)

    def paint(self, sketch: Sketch, first_id: int) -> tuple[slice, slice]:
        """Paint a sketch (in picture pixels), parts as first_id + 1, ...; gives rows and columns touched."""
        for points, colour, part in sketch.polygons:
            fixed = self._fixed(points)
            cv2.fillPoly(self.colours, [fixed], colour, shift=_FIXED_POINT_BITS)
            cv2.fillPoly(self.ids, [fixed], first_id + 1 + part, shift=_FIXED_POINT_BITS)
        x_min, y_min, x_max, y_max = (value * SUPERSAMPLING for value in sketch.bounds())
        height, width = self.ids.shape
        rows = slice(min(max(int(y_min) - 2, 0), height), max(min(int(y_max) + 3, height), 0))
        columns = slice(min(max(int(x_min) - 2, 0), width), max(min(int(x_max) + 3, width), 0))
        return rows, columns

    def shade(self, window: tuple[slice, slice], mask: np.ndarray, light: np.ndarray) -> None:
        """Multiply the colours in a window by light / 128 where mask (uint8, 0 or 255) is set."""
        colours = self.colours[window]
        shaded = cv2.multiply(colours, cv2.merge([light, light, light]), scale=1 / 128)
        cv2.copyTo(shaded, mask, colours)

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8: the mean of each pixel's samples."""
        return cv2.resize(self.colours, self.size_hw[::-1], interpolation=cv2.INTER_AREA)

    def labels(self) -> np.ndarray:
        """(H, W) uint8: the id that most of a pixel's four samples carry, the one in front on a tie."""
        a, b = self.ids[0::2, 0::2], self.ids[0::2, 1::2]
        c, d = self.ids[1::2, 0::2], self.ids[1::2, 1::2]
        low_1, high_1, low_2, high_2 = np.minimum(a, b), np.maximum(a, b), np.minimum(c, d), np.maximum(c, d)
        lowest, highest = np.minimum(low_1, low_2), np.maximum(high_1, high_2)
        middle_1, middle_2 = np.maximum(low_1, low_2), np.minimum(high_1, high_2)
        second, third = np.minimum(middle_1, middle_2), np.maximum(middle_1, middle_2)
        behind = np.where(lowest == second, lowest, highest)
        return np.where(third == highest, highest, np.where(second == third, second, behind))

    @staticmethod
    def _fixed(points: np.ndarray) -> np.ndarray:
        # Pixel centres sit on whole numbers in OpenCV and on halves here.
        scaled = (points * SUPERSAMPLING - 0.5) * (1 << _FIXED_POINT_BITS)
        return np.round(scaled).astype(np.int32)
