"""Where the names of regions stand: inside of them, at the most inner point at which they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 1000
"""Places are sought in a map of about this many pixels a side."""
APART = 0.08
"""Pieces of a word that are closer than this share of the longer side are pieces of one thing."""
_AS_DEEP = 0.9
"""A point this deep in its region, in the depth of the deepest, is as good as that."""
_MOST_PIECES = 1000

_Index = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Place:
    """Where a name stands."""

    word: int
    form: int
    """Which of the forms that the name can be written in."""
    centre_xy: tuple[int, int]


def place_names(index: _Index, sizes_wh: Sequence[Sequence[tuple[int, int]]]) -> list[Place]:
    """Places of names, each wholly on one connected piece of its word's pixels.

    A word has one name for all pieces that lie close together, on the largest on which one fits.

    Args:
        index: (H, W) word of each pixel, 0 to K - 1; others are no word's.
        sizes_wh: for each of the K words, the width and height of its name in every form it can be written in, the most
            welcome first.

    Returns:
        None for a word that fits nowhere, more than one for a word whose things are apart.
    """
    step = max(1, -(-max(index.shape) // SIDE))
    top, left = (min(step, side) // 2 for side in index.shape)
    small = index[top::step, left::step].astype(np.int32)
    # Rounding moves a name by less than a pixel of the small map: that much is left to the border of each piece.
    sizes = [[(-(-width // step), -(-height // step)) for width, height in forms] for forms in sizes_wh]
    pieces = _pieces(small, sizes)
    places: list[Place] = []
    for word in sorted({piece.word for piece in pieces}):
        own = [piece for piece in pieces if piece.word == word]
        named: set[int] = set()
        for piece, thing in zip(own, _things(own, small.shape)):
            if thing not in named and (found := piece.fit(sizes[word])) is not None:
                named.add(thing)
                form, (x, y) = found
                places.append(Place(word, form, (x * step + left, y * step + top)))
    return places


@dataclass(frozen=True)
class _Piece:
    """Connected pixels of a word, without those at their border."""

    word: int
    number: int
    corner_xy: tuple[int, int]
    piece_of: npt.NDArray[np.int32]
    """(h, w) from the corner on: the number of each pixel's piece."""
    depth: npt.NDArray[np.float32]
    """(h, w): distance of each pixel to the nearest that is at a border."""

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """(h, w), 1 where it is."""
        return (self.piece_of == self.number).view(np.uint8)

    def fit(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, tuple[int, int]] | None:
        """The first form that fits, and the centre (x, y) at which it is deepest inside."""
        mask = self.mask
        for form, (width, height) in enumerate(sizes):
            if width > mask.shape[1] or height > mask.shape[0]:
                continue
            fits = cv2.erode(
                mask,
                np.ones((height, width), np.uint8),
                anchor=(width // 2, height // 2),
                borderType=cv2.BORDER_CONSTANT,
                borderValue=0,
            )
            if fits.any():
                col, row = _middle(self.depth * fits)
                return form, (col + self.corner_xy[0], row + self.corner_xy[1])
        return None


def _middle(depth: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Column and row of the deepest point; of a ridge that is as deep all along, the one nearest to its middle."""
    rows, cols = np.nonzero(depth >= _AS_DEEP * depth.max())
    nearest = int(((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2).argmin())
    return int(cols[nearest]), int(rows[nearest])


def _pieces(index: npt.NDArray[np.int32], sizes: Sequence[Sequence[tuple[int, int]]]) -> list[_Piece]:
    """Pieces on which a name may fit, the largest first."""
    framed = np.pad(index, 1, constant_values=-1)
    inside = np.ones(index.shape, np.uint8)
    for other in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        inside &= index == other
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    piece_of = np.asarray(numbers, np.int32)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, piece_of.ravel(), depth.ravel())
    pieces = []
    for number in (np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_MOST_PIECES] + 1).tolist():
        x, y, width, height, area = stats[number].tolist()
        box = slice(y, y + height), slice(x, x + width)
        word = int(index[box][piece_of[box] == number][0])
        forms = sizes[word] if 0 <= word < len(sizes) else []
        if any(wide * high <= area and min(wide, high) <= 2 * deepest[number] for wide, high in forms):
            pieces.append(_Piece(word, number, (x, y), piece_of[box], depth[box]))
    return pieces


def _things(pieces: Sequence[_Piece], shape: tuple[int, ...]) -> list[int]:
    """The thing that each piece of a word is of: pieces that are close are of one."""
    if len(pieces) < 2:
        return [0] * len(pieces)
    together = np.zeros(shape, np.uint8)
    inner = []
    for piece in pieces:
        (x, y), mask = piece.corner_xy, piece.mask
        together[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
        row, col = np.unravel_index(int(mask.argmax()), mask.shape)
        inner.append((int(row) + y, int(col) + x))
    reach = max(1, round(APART * max(shape) / 2))
    grown = cv2.dilate(together, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    thing_of = cv2.connectedComponents(grown)[1]
    return [int(thing_of[place]) for place in inner]
