"""Colours over a picture that go on showing it: its light with a word's hue, thin borders, stripes where unsure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from .image import RGB

Style = Literal["fill", "outline", "both"]
STYLES: tuple[Style, ...] = get_args(Style)
Colours = npt.NDArray[np.uint8]
Index = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

BAND_PIXELS = 2**20
"""A picture is coloured a band of rows at a time, so that large ones need little memory."""
_OWN_LIGHT = 0.5
"""How much of a word's own lightness a pixel takes on; the rest is the picture's."""


def coloured(
    image: RGB,
    index: Index,
    colours: Colours,
    *,
    style: Style,
    opacity: float,
    unsure: npt.NDArray[np.uint8] | None = None,
) -> Iterator[tuple[int, RGB]]:
    """A picture with the colours of its words, a band at a time.

    Args:
        image: (H, W, 3).
        index: (H, W) word of each pixel; K: none, it stays as it is.
        colours: (K, 3).
        style: areas, borders or both.
        opacity: of the areas' colours, 0 to 1.
        unsure: (H, W), 1 where areas are striped.

    Yields:
        First row, and the rows' pixels.
    """
    height, width = index.shape
    border = border_width((height, width))
    line = border if style == "both" else 2 * border  # alone it has to be seen better
    table = _tint_table(colours)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        part, labels = image[top:bottom], index[top:bottom]
        shown = (labels < len(colours)).view(np.uint8)
        out = part.copy()
        filled = shown * (style != "outline")
        if unsure is not None:
            filled[unsure[top:bottom] == 1] = 0
            filled |= shown & unsure[top:bottom] & _stripes(top, labels.shape, 3 * border)
        if filled.any():
            cv2.copyTo(_tinted(part, labels, table, opacity), filled, out)
        if style != "fill":
            above, below = max(0, top - line), min(height, bottom + line)
            edges = _edges(index[above:below], line)[top - above : bottom - above]
            cv2.copyTo(_flat(labels, colours), edges & shown, out)
        yield top, out


def border_width(size_hw: tuple[int, int]) -> int:
    """Width of a region's border, which lies inside it: thin, yet to be seen where a picture is scaled to a screen."""
    return max(1, round(min(size_hw) / 350))


def _tint_table(colours: Colours) -> Colours:
    """(256 K, 3): every word's hue at every lightness of the picture, which the word's own lightness shifts."""
    if len(colours) == 0:
        return np.zeros((1, 3), np.uint8)
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    table = np.repeat(lab[:, None], 256, axis=1)
    table[..., 0] = (1 - _OWN_LIGHT) * np.linspace(0, 100, 256, dtype=np.float32) + _OWN_LIGHT * table[..., 0]
    rgb = np.clip(np.rint(cv2.cvtColor(table, cv2.COLOR_Lab2RGB) * 255), 0, 255).astype(np.uint8)
    return np.asarray(rgb.reshape(-1, 3))


def _tinted(part: RGB, labels: Index, table: Colours, opacity: float) -> RGB:
    light = cv2.cvtColor(part, cv2.COLOR_RGB2Lab)[..., 0].astype(np.int32)
    tinted: RGB = np.take(table, labels.astype(np.int32) * 256 + light, axis=0, mode="clip")
    return np.asarray(cv2.addWeighted(part, 1 - opacity, tinted, opacity, 0), np.uint8)


def _flat(labels: Index, colours: Colours) -> RGB:
    return np.concatenate([colours, np.zeros((1, 3), np.uint8)])[labels]


def _stripes(top: int, shape: tuple[int, int], width: int) -> npt.NDArray[np.uint8]:
    """1 on stripes that run down to the left, 0 between; the band's first row is row ``top`` of the picture."""
    diagonal = np.arange(top, top + shape[0], dtype=np.int32)[:, None] + np.arange(shape[1], dtype=np.int32)
    return ((diagonal // width) % 2 == 0).view(np.uint8)


def _edges(index: Index, reach: int) -> npt.NDArray[np.uint8]:
    """1 where there is another label within ``reach`` pixels (chessboard distance)."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return (cv2.dilate(index, kernel) != cv2.erode(index, kernel)).view(np.uint8)
