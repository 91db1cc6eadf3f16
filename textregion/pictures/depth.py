"""Numbers of more than 8 bits as the 8 bits that the models see: by the range that a file states, or that they fill."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

logger = logging.getLogger(__name__)

Numbers = npt.NDArray[Any]
Range = tuple[float, float]
"""The numbers of black and of white."""

_USUAL_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0, 2.0**24 - 1, 2.0**32 - 1)
"""White in 8, 10, 12, 14, 16, 24 and 32 bits."""
_OVERSHOOT = 1 / 16
"""Numbers may be beyond white by this part, as lossy compression and resizing leave them."""
_LEAST_FILLED = 1 / 4
"""A usual range of which less is filled is not the one that was meant."""
_LEAST_BELOW = 1 / 10
"""Numbers below 0 by less than this part of the largest are overshoot as well."""
_SMALLEST = float(np.finfo(np.float32).tiny)


def as_image(
    values: Numbers, name: str, stated: Range | None, *, opacity: Literal["RGBA", "RGBa"] | None = None
) -> Image.Image:
    """Numbers of any type as a picture of 8 bits a band.

    Args:
        values: (H, W, bands): grey or red, green and blue; with opacity one more.
        name: of the picture, for the log.
        stated: the colours' range as the file states it; None: by :func:`found_range`.
        opacity: None: there is none; RGBa: the colours are already multiplied by it.
    """
    count = values.shape[2] - (opacity is not None)
    colours = to_eight_bits(values[..., :count], name, stated)
    if opacity is None:
        return Image.fromarray(colours[..., 0] if count == 1 else np.ascontiguousarray(colours))
    height, width = values.shape[:2]
    bands = [np.broadcast_to(colours, (height, width, 3)), to_eight_bits(values[..., count:], name)]
    return Image.frombytes(opacity, (width, height), np.concatenate(bands, axis=2).tobytes())


def to_eight_bits(values: Numbers, name: str, stated: Range | None = None) -> npt.NDArray[np.uint8]:
    """Whole or floating-point numbers of any shape as uint8; all bands have one range, and NaN is black.

    Where the range is not that of their type (all its bits; 0 to 1 for floats), the log says so.

    Args:
        values: of any shape.
        name: of the picture, for the log.
        stated: the range that the file states, which is believed unless the numbers go beyond it.
    """
    if values.dtype == np.uint8 and stated is None:
        return values.astype(np.uint8)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    black, white = found_range(least, most, values.dtype)
    if stated is not None and stated[0] <= least and most <= stated[1] * (1 + _OVERSHOOT):
        black, white = stated
        logger.info("%s states that its values go from %g to %g: it is scaled by that.", name, black, white)
    elif (black, white) != (0.0, _white_of(values.dtype)):
        logger.warning(
            "%s holds values from %g to %g (%s): %g is taken as black and %g as white.",
            *(name, least, most, values.dtype, black, white),
        )
    numbers = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    numbers = np.nan_to_num(numbers, nan=black, posinf=white, neginf=black)
    numbers = (numbers - black) * 255 / max(white - black, _SMALLEST)
    return np.clip(numbers + 0.5, 0, 255).astype(np.uint8)


def found_range(least: float, most: float, dtype: np.dtype[Any]) -> Range:
    """Black and white of numbers from ``least`` to ``most``: the smallest usual range that holds them, or their own."""
    if least < -_LEAST_BELOW * abs(most):
        return least, most
    top = _white_of(dtype)
    whites = sorted({top, *(white for white in _USUAL_WHITES if dtype.kind == "f" or white < top)})
    for index, white in enumerate(whites):
        if most <= white * (1 + _OVERSHOOT) and (index == 0 or most >= white * _LEAST_FILLED):
            return 0.0, white
    return 0.0, most


def _white_of(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
