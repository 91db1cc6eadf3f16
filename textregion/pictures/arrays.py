"""Pictures given as NumPy arrays or tensors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import UserError, described

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = (1, 3, 4)
_SLACK = 1e-3
"""Floats may be beyond 0..1 by this, from rounding."""


def is_array(value: object) -> TypeGuard[npt.NDArray[np.generic] | Tensor]:
    """Whether a value is an array or a tensor; while PyTorch is not loaded nothing is."""
    torch: Any = sys.modules.get("torch")
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))


def array_as_image(picture: npt.NDArray[np.generic] | Tensor) -> Image.Image:
    """A picture given as numbers, in RGB order.

    Args:
        picture: (H, W), (H, W, C) or, as torchvision has it, (C, H, W), with C = 1, 3 or 4 (the last one opacity);
            uint8, or floats in 0..1. Where both ends of a shape could be C, an array's is the last and a tensor's the
            first.

    Raises:
        UserError: another shape, a batch, another type, floats beyond 0..1.
    """
    values = picture if isinstance(picture, np.ndarray) else _as_array(picture)
    if values.ndim == 4:
        raise UserError(f"One picture is taken at a time, but got {described(picture)}: encode_many takes several.")
    rows = _channels_last(values, first=not isinstance(picture, np.ndarray))
    if rows is None or 0 in rows.shape:
        raise UserError(
            f"A picture given as an array must be (H, W), (H, W, 3), (3, H, W) or the same with 4 for opacity, but got "
            f"{described(picture)}."
        )
    pixels = _to_bytes(rows, described(picture))
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())


def _as_array(picture: Tensor) -> npt.NDArray[np.generic]:
    try:
        plain = picture.detach().cpu()
        is_known = str(plain.dtype) != "torch.bfloat16"  # to NumPy
        values: npt.NDArray[np.generic] = (plain if is_known else plain.float()).numpy()
    except (RuntimeError, TypeError):
        raise UserError(
            f"A picture given as a tensor must be plain uint8 or floats, but got {described(picture)}."
        ) from None
    return values


def _channels_last(values: npt.NDArray[np.generic], first: bool) -> npt.NDArray[np.generic] | None:
    """(H, W, C), or None where it is nothing of the kind."""
    if values.ndim == 2:
        return values[:, :, None]
    if values.ndim != 3:
        return None
    ends = {False: values.shape[2] in _CHANNELS, True: values.shape[0] in _CHANNELS}
    if not any(ends.values()):
        return None
    return np.moveaxis(values, 0, 2) if ends[True] and (first or not ends[False]) else values


def _to_bytes(values: npt.NDArray[np.generic], what: str) -> npt.NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind != "f":
        raise UserError(
            f"A picture given as an array must be uint8 (0..255) or floats in 0..1, but got {what}: divide it by the "
            "number that stands for white."
        )
    least, most = float(values.min()), float(values.max())
    if not (least >= -_SLACK and most <= 1 + _SLACK):
        raise UserError(
            f"A picture given as an array of floats must lie in 0..1, but {what} goes from {least:g} to {most:g}: give "
            "the pixels as they were before they were normalised, or divide them by white."
        )
    return np.clip(values.astype(np.float32) * 255 + 0.5, 0, 255).astype(np.uint8)
