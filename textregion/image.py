"""Stage 0 and 1: any picture becomes RGB, and the one resize rule (method.md section 1)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Union

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from .errors import UserError, described, reason_of
from .pictures import deep, tiff
from .pictures.arrays import array_as_image, is_array
from .pictures.decoders import quiet

if TYPE_CHECKING:
    from torch import Tensor

Picture = Union[str, "os.PathLike[str]", bytes, BinaryIO, Image.Image, npt.NDArray[np.generic], "Tensor"]
"""What :func:`load_picture` takes."""
RGB = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(
    [".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
"""What tells a picture among the files of a folder."""

_URL = re.compile(r"data:|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
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


@dataclass(frozen=True)
class Loaded:
    """A picture, upright."""

    rgb: RGB
    """(H, W, 3)."""
    turn: Image.Transpose | None = None
    """What put it upright, as its EXIF orientation says; None: nothing had to."""


def load_rgb(picture: Picture) -> RGB:
    """A picture of any kind as (H, W, 3) uint8 RGB; see :func:`load_picture`."""
    return load_picture(picture).rgb


def load_picture(picture: Picture) -> Loaded:
    """A picture of any kind as RGB of 8 bits.

    Paths, the bytes of a file, files that are open for reading in binary mode, and PIL images of any mode: EXIF
    orientation is applied, transparency put on white, numbers of more than 8 bits are scaled by the range that is
    stated or found (:mod:`textregion.pictures.depth`), and of an animation the first frame is taken. NumPy arrays and
    tensors: see :func:`textregion.pictures.arrays.array_as_image`.

    Raises:
        UserError: a file that is missing, empty, truncated or no picture; several pictures; a URL; an array of another
            shape or type; a picture without pixels; a TIFF whose colours cannot be told.
    """
    if is_array(picture):
        return Loaded(_flatten(array_as_image(picture)))
    if isinstance(picture, Image.Image):
        return _decode(picture, f"Picture {str(getattr(picture, 'filename', '') or picture)!r}")
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return _read(io.BytesIO(picture), "The picture given as bytes")
    if isinstance(picture, (str, os.PathLike)):
        return _read_path(os.fsdecode(picture))
    if callable(getattr(picture, "read", None)):
        return _read_stream(picture)
    if isinstance(picture, Iterable):
        raise UserError(f"One picture is taken at a time, but got {described(picture)}: encode_many takes several.")
    raise UserError(
        f"A picture is a path, a file's bytes, a PIL image, an array or a tensor, but got {described(picture)}."
    )


def is_picture(value: object) -> bool:
    """Whether a value stands for one picture, not for several."""
    if is_array(value):
        return value.ndim < 4
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)) or hasattr(value, "read")


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


def _read_path(path: str) -> Loaded:
    name = f"Picture {path!r}"
    if not os.path.isfile(path):
        if _URL.match(path):
            raise UserError(f"Picture {path[:200]!r} is a URL: download it, and give the file's path or its bytes.")
        what = "is a folder" if os.path.isdir(path) else "is no file" if os.path.lexists(path) else "does not exist"
        raise UserError(f"{name} {what}: give the path of an image file.")
    try:
        # By its name Pillow maps the file into memory, and gets the rows of a TIFF that lies on its side wrong.
        with open(path, "rb") as file:
            return _read(file, name)
    except PermissionError:
        raise UserError(f"{name} may not be read: check its permissions.") from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}): check the file.") from None


def _read_stream(file: Any) -> Loaded:
    """A picture from a file that is open somewhere in it, or from what is read like one."""
    name = getattr(file, "name", None)
    name = f"Picture {name!r}" if isinstance(name, str) else "The picture given as a file"
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}): open it for reading in binary mode.") from None
    if not isinstance(content, bytes):
        raise UserError(f"{name} gives {type(content).__name__} instead of bytes: open it in binary mode, 'rb'.")
    return _read(io.BytesIO(content), name)


def read_rgb(file: BinaryIO, name: str, max_pixels: int | None = None) -> RGB:
    """A picture from an open file, as :func:`load_rgb` has it.

    Args:
        file: its bytes.
        name: what messages call it, such as ``Picture 'a.png'``.
        max_pixels: a larger picture is refused before it is decoded; None: what Pillow deems safe.

    Raises:
        UserError: no picture, a truncated one, or one that is too large.
    """
    return _read(file, name, max_pixels).rgb


def _read(file: BinaryIO, name: str, max_pixels: int | None = None) -> Loaded:
    if file.seek(0, os.SEEK_END) == 0:
        raise UserError(f"{name} is an empty file: save it again.")
    file.seek(0)
    try:
        with quiet("PIL.TiffImagePlugin"), Image.open(file) as image:
            _check_size(image.size, max_pixels, name)
            return _decode(image, name)
    except UnidentifiedImageError:
        return _read_unknown(file, name, max_pixels)
    except Image.DecompressionBombError:
        raise UserError(f"{name} is too large to open safely: make it smaller first.") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from None


def _check_size(size_wh: tuple[int, int], max_pixels: int | None, name: str) -> None:
    width, height = size_wh
    if max_pixels is not None and width * height > max_pixels:
        raise UserError(
            f"{name} has {width} x {height} pixels, more than the {max_pixels:,} that are taken: make it smaller first."
        )


def _read_unknown(file: BinaryIO, name: str, max_pixels: int | None) -> Loaded:
    """A picture that Pillow does not know: some TIFF files are."""
    file.seek(0)
    content = file.read()
    try:
        page = tiff.find_page(content, name)
        if page is not None:
            _check_size(page.size_hw[::-1], max_pixels, name)
            turn = _TURNS.get(page.orientation)
            stored = tiff.decode(page, content, name)
            return Loaded(_flatten(stored if turn is None else stored.transpose(turn)), turn)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from None
    raise UserError(f"{name} is not an image that can be read: convert it to PNG or JPEG.") from None


def _decode(image: Image.Image, name: str) -> Loaded:
    """The pixels of an image that may not have been decoded yet."""
    if image.format == "EPS":
        # Pillow would hand it to Ghostscript: a picture is data, never a program to run.
        raise UserError(f"{name} is PostScript, a program that draws: convert it to PNG or JPEG.")
    try:
        # Once Pillow has loaded a TIFF, it has turned it, and its orientation is gone.
        early = upright_turn(image) if image.format == "TIFF" else None
        stored = deep.decode(image, name)
        if 0 in stored.size:
            raise UserError(f"{name} has no pixels ({stored.width} x {stored.height}): save it again.")
        turn = upright_turn(image) if early is None else early
        if turn is not None and (early is None or stored is not image):
            stored = stored.transpose(turn)
        return Loaded(_flatten(stored), turn)
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


def _flatten(image: Image.Image) -> RGB:
    """Its colours, on white."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)
