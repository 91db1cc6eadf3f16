"""Which way up: pictures that their EXIF turns, and the labels, boxes and points that were drawn on them.

Everything is judged upright, as a picture is shown. Labels and annotations are upright too, for so the tools that make
them show the picture; they lie on the stored pixels only where sizes fit no other way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from eval.shared.metrics import Box
from textregion.image import upright_turn

Turn = Image.Transpose
SizeWH = tuple[int, int]

_STEPS: dict[Turn, tuple[bool, int, int]] = {
    Turn.FLIP_LEFT_RIGHT: (False, 1, -1),
    Turn.FLIP_TOP_BOTTOM: (False, -1, 1),
    Turn.ROTATE_180: (False, -1, -1),
    Turn.TRANSPOSE: (True, 1, 1),
    Turn.ROTATE_270: (True, 1, -1),
    Turn.TRANSVERSE: (True, -1, -1),
    Turn.ROTATE_90: (True, -1, 1),
}
"""Whether rows and columns change places, and then the direction of the rows and of the columns."""
_ROUNDING = 1.0
"""Annotations may end this many pixels outside of their picture."""


@dataclass(frozen=True)
class Orientation:
    """How a picture is stored, and what puts it upright (None: it is)."""

    stored_wh: SizeWH
    turn: Turn | None = None

    @property
    def upright_wh(self) -> SizeWH:
        """Width and height as the picture is shown."""
        swaps = self.turn is not None and _STEPS[self.turn][0]
        return self.stored_wh[::-1] if swaps else self.stored_wh


def orientation_of(image: Image.Image) -> Orientation:
    """The orientation of a picture that is open and not yet decoded."""
    size_wh = image.size
    if isinstance(image, TiffImageFile):  # its size is that of the upright picture in some versions of Pillow
        size_wh = (int(image.tag_v2[IMAGEWIDTH]), int(image.tag_v2[IMAGELENGTH]))
    return Orientation(size_wh, upright_turn(image))


def read_orientation(path: str | os.PathLike[str]) -> Orientation | None:
    """The orientation of a picture file; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            return orientation_of(image)
    except Exception:  # on damaged data Pillow's decoders raise whatever happens to them
        return None


def turned(values: npt.NDArray[Any], turn: Turn | None) -> npt.NDArray[Any]:
    """(H, W, ...) values turned as Pillow turns a picture; a view."""
    if turn is None:
        return values
    swaps, down, right = _STEPS[turn]
    return (values.swapaxes(0, 1) if swaps else values)[::down, ::right]


def turned_box(box_xywh: Box, size_wh: SizeWH, turn: Turn | None) -> Box:
    """A box on a picture of ``size_wh`` as one on the turned picture."""
    if turn is None:
        return box_xywh
    x, y, width, height = box_xywh
    swaps, down, right = _STEPS[turn]
    if swaps:
        x, y, width, height, size_wh = y, x, height, width, size_wh[::-1]
    return (
        x if right > 0 else size_wh[0] - x - width,
        y if down > 0 else size_wh[1] - y - height,
        width,
        height,
    )


def turn_of_labels(labels: Orientation, picture: Orientation) -> Turn | None:
    """What puts a picture's label map upright: its own EXIF, nothing, or what the picture takes, whichever first makes
    its size the upright picture's.

    Raises:
        ValueError: none does.
    """
    for turn in (labels.turn, None, picture.turn):
        if Orientation(labels.stored_wh, turn).upright_wh == picture.upright_wh:
            return turn
    (width, height), (picture_width, picture_height) = labels.stored_wh, picture.stored_wh
    raise ValueError(f"{width} x {height} pixels, but its picture has {picture_width} x {picture_height}")


def turn_of_annotations(
    picture: Orientation, points_xy: Iterable[tuple[float, float]], recorded_wh: SizeWH | None = None
) -> Turn | None:
    """What puts a picture's annotations upright; None where they are.

    They are upright unless the size that was recorded with them, or else how far they reach, is possible on the stored
    picture alone.

    Args:
        picture: how it is stored.
        points_xy: all that the annotations hold: points, or the far corners of boxes.
        recorded_wh: width and height of the picture, if the annotations tell.
    """
    sizes = (picture.upright_wh, picture.stored_wh)
    if sizes[0] == sizes[1]:
        return None
    if recorded_wh in sizes:
        return picture.turn if recorded_wh == picture.stored_wh else None
    width, height = np.max([(0.0, 0.0), *points_xy], axis=0) - _ROUNDING
    fits_upright, fits_stored = (width <= size[0] and height <= size[1] for size in sizes)
    return picture.turn if fits_stored and not fits_upright else None
