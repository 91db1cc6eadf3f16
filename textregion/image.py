"""Stage 0 and 1: any picture becomes RGB, and the one resize rule (method.md section 1)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Union

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from .errors import UserError, reason_of

Picture = Union[str, "os.PathLike[str]", Image.Image, npt.NDArray[np.generic]]
RGB = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(
    [".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
"""What tells a picture among the files of a folder."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts a picture of each EXIF orientation upright."""


def load_rgb(picture: Picture) -> RGB:
    """A picture of any kind as (H, W, 3) uint8 RGB.

    Files and PIL images of any mode work (EXIF orientation applied, transparency put on white, 16-bit and float
    pictures scaled to 8 bits, the first frame of an animation). Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
    uint8, RGB order.

    Raises:
        UserError: a file that is missing, empty, truncated or no picture; an array of another shape or type; a picture
            without pixels.
    """
    if isinstance(picture, np.ndarray):
        return _array_to_rgb(picture)
    if isinstance(picture, Image.Image):
        return _decode(picture, f"Picture {str(getattr(picture, 'filename', '') or picture)!r}")
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
    name = f"Picture {str(path)!r}"
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "is no file" if os.path.lexists(path) else "does not exist"
        raise UserError(f"{name} {what}: give the path of an image file.")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{name} is an empty file: save it again.")
        # By its name Pillow maps the file into memory, and gets the rows of a TIFF that lies on its side wrong.
        with path.open("rb") as file:
            return read_rgb(file, name)
    except PermissionError:
        raise UserError(f"{name} may not be read: check its permissions.") from None
    except OSError as error:
        raise _damaged(name, error) from None


def read_rgb(file: BinaryIO, name: str, max_pixels: int | None = None) -> RGB:
    """A picture from an open file, as :func:`load_rgb` has it.

    Args:
        file: its bytes.
        name: what messages call it, such as ``Picture 'a.png'``.
        max_pixels: a larger picture is refused before it is decoded; None: what Pillow deems safe.

    Raises:
        UserError: no picture, a truncated one, or one that is too large.
    """
    try:
        with Image.open(file) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise UserError(
                    f"{name} has {image.width} x {image.height} pixels, more than the {max_pixels:,} that are taken: "
                    "make it smaller first."
                )
            return _decode(image, name)
    except UnidentifiedImageError:
        raise UserError(f"{name} is not an image that can be read: convert it to PNG or JPEG.") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name} is too large to open safely: make it smaller first.") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from None


def _decode(image: Image.Image, name: str) -> RGB:
    """The pixels of an image that may not have been decoded yet."""
    if image.format == "EPS":
        # Pillow would hand it to Ghostscript: a picture is data, never a program to run.
        raise UserError(f"{name} is PostScript, a program that draws: convert it to PNG or JPEG.")
    try:
        image.load()
        if 0 in image.size:
            raise UserError(f"{name} has no pixels ({image.width} x {image.height}): save it again.")
        return _pil_to_rgb(_upright(image))
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> UserError:
    """What to say of a file whose decoder failed; on damaged data Pillow's raise whatever happens to them."""
    return UserError(f"{name} is damaged ({reason_of(error)}): save it again.")


def upright_turn(image: Image.Image) -> Image.Transpose | None:
    """What puts a picture upright as its EXIF orientation says; EXIF that cannot be read says nothing.

    ``ImageOps.exif_transpose`` would also write the EXIF anew, and fails over tags that do not matter here.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever the damaged data happens to cause
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _upright(image: Image.Image) -> Image.Image:
    turn = upright_turn(image)
    return image if turn is None else image.transpose(turn)


def _pil_to_rgb(image: Image.Image) -> RGB:
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
