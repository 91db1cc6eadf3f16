"""Label maps: pictures whose pixels are whole numbers, read as stored in every bit depth."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from eval.shared.orientation import Orientation, Turn, orientation_of, turn_of_labels, turned
from textregion import UserError
from textregion.errors import reason_of

LabelValues = npt.NDArray[np.integer[Any]]

_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow's decoders raise on a damaged file."""
_GREY = re.compile(r"[1L](?:;(?P<bits>[124])?(?P<white_is_zero>I)?R?)?")
"""Pillow's names of how grey pixels of up to 8 bits are stored: it spreads them over 0..255, and turns white into 0."""
_BACK = {Turn.ROTATE_90: Turn.ROTATE_270, Turn.ROTATE_270: Turn.ROTATE_90}
"""The turns that are not their own opposites."""


@dataclass(frozen=True)
class LabelMap:
    """Values as stored, (H, W) whole numbers, and what puts them upright as the file's own EXIF says."""

    values: LabelValues
    turn: Turn | None

    @property
    def upright(self) -> LabelValues:
        """The values as the file's own EXIF asks them to be shown."""
        return turned(self.values, self.turn)


def read_label_map(path: str | os.PathLike[str]) -> LabelMap:
    """A label map of any bit depth: grey values, or the indices of a palette, never its colours.

    Raises:
        UserError: a file that cannot be read, or is no label map.
    """
    with open_image(path, "Label map") as image:
        spread, turn = _spread(image), orientation_of(image).turn  # to look for a PNG's EXIF decodes it
        try:
            image.load()
        except _IMAGE_ERRORS as error:
            raise UserError(f"Label map {os.fspath(path)!r} is damaged ({reason_of(error)}): copy it again.") from None
        if len(image.getbands()) != 1 or image.mode == "F":
            raise UserError(
                f"Label map {os.fspath(path)!r} is a picture of mode {image.mode}: expected one whole number a pixel, "
                "the number of its class; convert colours to these first."
            )
        values = spread.undone(np.asarray(image, dtype=np.uint8 if image.mode == "1" else None))
        if turn is not None and isinstance(image, TiffImageFile):  # Pillow has turned it already
            values = turned(values, _BACK.get(turn, turn))
        return LabelMap(values, turn)


def read_labels(label_path: str | os.PathLike[str], picture_path: str | os.PathLike[str]) -> npt.NDArray[np.int64]:
    """The label map of a picture, (H, W), upright (see :func:`eval.shared.orientation.turn_of_labels`).

    Raises:
        UserError: a file that cannot be read, is no label map, or has another size than the picture.
    """
    with open_image(picture_path, "Picture") as image:
        picture = orientation_of(image)
    labels = read_label_map(label_path)
    height, width = labels.values.shape
    try:
        turn = turn_of_labels(Orientation((width, height), labels.turn), picture)
    except ValueError as error:
        raise UserError(
            f"Label map {os.fspath(label_path)!r} does not fit picture {os.fspath(picture_path)!r}: it has {error}; "
            "convert the labels again."
        ) from None
    return np.ascontiguousarray(turned(labels.values, turn), dtype=np.int64)


@contextlib.contextmanager
def open_image(path: str | os.PathLike[str], what: str) -> Iterator[Image.Image]:
    """A picture file that is not decoded yet.

    Raises:
        UserError: it is missing or no picture.
    """
    name = f"{what} {os.fspath(path)!r}"
    with contextlib.ExitStack() as open_files:
        try:
            # By its name Pillow maps the file into memory, and gets the rows of a TIFF that lies on its side wrong.
            image = open_files.enter_context(Image.open(open_files.enter_context(open(path, "rb"))))
        except FileNotFoundError:
            raise UserError(f"{name} does not exist: complete the data set.") from None
        except UnidentifiedImageError:
            raise UserError(f"{name} is not an image that Pillow can read: copy it again.") from None
        except _IMAGE_ERRORS as error:
            raise UserError(f"{name} cannot be read ({reason_of(error)}): copy it again.") from None
        yield image


@dataclass(frozen=True)
class _Spread:
    """How Pillow spreads stored values: ``top`` becomes ``shown_top``, and white is 0 or not."""

    top: int = 255
    shown_top: int = 255
    white_is_zero: bool = False

    def undone(self, shown: npt.NDArray[Any]) -> LabelValues:
        if self.top != self.shown_top:
            shown = np.rint(shown * (self.top / self.shown_top)).astype(np.int64)
        return self.top - shown if self.white_is_zero else shown


def _spread(image: Image.Image) -> _Spread:
    """How the pixels of a picture that is not decoded yet will be spread."""
    if image.mode not in ("1", "L", "I") or not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return _Spread()
    codec, *_, arguments = image.tile[0]
    if codec in ("ppm", "ppm_plain") and isinstance(arguments, tuple):
        return _Spread(arguments[1], 255 if image.mode == "L" else 65535)
    stored = _GREY.fullmatch(str(arguments[0] if isinstance(arguments, tuple) else arguments))
    if stored is None:
        return _Spread()
    bits = 1 if image.mode == "1" else int(stored["bits"] or 8)
    return _Spread(2**bits - 1, 1 if image.mode == "1" else 255, stored["white_is_zero"] is not None)
