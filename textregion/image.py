"""Stage 0 and 1: any picture becomes RGB, and the one resize rule (method.md section 1)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Union

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import UserError

Picture = Union[str, "os.PathLike[str]", Image.Image, npt.NDArray[np.generic]]
RGB = npt.NDArray[np.uint8]


def load_rgb(picture: Picture) -> RGB:
    """A picture of any kind as (H, W, 3) uint8 RGB.

    Files and PIL images of any mode work (EXIF orientation applied, transparency put on white, 16-bit and float
    pictures scaled to 8 bits, the first frame of an animation). Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
    uint8, RGB order.

    Raises:
        UserError: a file that is missing, empty, truncated or no picture; an array of another shape or type.
    """
    if isinstance(picture, np.ndarray):
        return _array_to_rgb(picture)
    if isinstance(picture, Image.Image):
        return _pil_to_rgb(picture)
    return _read(Path(picture))


def resized_hw(size_hw: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """Height and width after fitting into ``scale`` with the aspect ratio kept (both at least 1 pixel)."""
    height, width = size_hw
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def resize(image: RGB, size_hw: tuple[int, int]) -> RGB:
    """Bilinear resize of an (H, W, 3) uint8 image, as OpenCV (and so ``mmcv.imrescale``) does it."""
    height, width = size_hw
    resized: RGB = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    return resized


def _read(path: Path) -> RGB:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"Picture {str(path)!r} {what}: give the path of an image file.")
    if path.stat().st_size == 0:
        raise UserError(f"Picture {str(path)!r} is an empty file: save it again.")
    try:
        with Image.open(path) as image:
            return _pil_to_rgb(image)
    except UnidentifiedImageError:
        raise UserError(f"Picture {str(path)!r} is not an image that can be read: convert it to PNG or JPEG.") from None
    except Image.DecompressionBombError:
        raise UserError(f"Picture {str(path)!r} is too large to open safely: make it smaller first.") from None
    except PermissionError:
        raise UserError(f"Picture {str(path)!r} may not be read: check its permissions.") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError) as error:
        # Pillow's decoders raise any of these on a damaged file.
        raise UserError(f"Picture {str(path)!r} is damaged ({error or type(error).__name__}): save it again.") from None


def _pil_to_rgb(image: Image.Image) -> RGB:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _array_to_rgb(_to_eight_bits(np.asarray(image)))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_eight_bits(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Integers as 16-bit, floats in 0..1 or, beyond that, by their own range."""
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=65535.0, neginf=0.0)
    if np.issubdtype(values.dtype, np.integer):
        top = 255.0 if numbers.max(initial=0.0) <= 255 else 65535.0
    else:
        top = next((limit for limit in (1.0, 255.0, 65535.0) if numbers.max(initial=0.0) <= limit), numbers.max())
    return np.clip(numbers / top * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _array_to_rgb(array: npt.NDArray[np.generic]) -> RGB:
    if array.dtype != np.uint8:
        raise UserError(f"A picture given as an array must be uint8 (0..255), but its dtype is {array.dtype}.")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UserError(f"A picture given as an array must be (H, W), (H, W, 3) or (H, W, 4), but got {array.shape}.")
    if array.shape[2] == 4:
        return _pil_to_rgb(Image.fromarray(np.ascontiguousarray(array), "RGBA"))
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8)
