"""Files of more than 8 bits a band, of which Pillow keeps the upper 8 only, by who reads all of them."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
from PIL import Image

from . import tiff
from .decoders import read_by_opencv
from .depth import as_image

_BYTE, _TWO_BYTES = 2**8 - 1, 2**16 - 1
_FORMATS = ("TIFF", "PNG", "PPM", "JPEG2000")
"""Those of Pillow's formats that have more bits than it keeps."""
_JPEG2000_START, _TO_DEPTH = b"\xff\x4f\xff\x51", 42
"""How a code stream starts, and how many bytes after that the depth of the first band follows."""


def decode(image: Image.Image, name: str) -> Image.Image:
    """A picture as Pillow decodes it, or, where that loses bits or mistakes bands, as one of 8 bits a band as stored.

    Args:
        image: opened, its pixels perhaps not read yet.
        name: what messages call it.

    Raises:
        UserError: see :func:`textregion.pictures.tiff.find_page` and :func:`textregion.pictures.tiff.decode`.
        Exception: of any kind, over damaged data.
    """
    content, white = _unread(image)
    page = tiff.find_page(content, name) if content and image.format == "TIFF" else None
    if page is not None and page.index:
        image.seek(page.index)
    image.load()
    found = None
    if page is not None and page.is_mistaken:
        found = tiff.decode(page, content, name)
    elif white > _BYTE and "transparency" not in image.info:
        found = _by_opencv(content, name, _stated(image, content, white))
    if found is None and (image.mode in ("I", "F") or image.mode.startswith("I;16")) and 0 not in image.size:
        found = as_image(np.asarray(image)[..., None], name, None)
    return image if found is None else found


def _unread(image: Image.Image) -> tuple[bytes, int]:
    """The file of an image whose pixels are not read yet, and the largest number that its format has room for.

    Nothing and 255 where Pillow keeps all there is.
    """
    file, tiles = getattr(image, "fp", None), getattr(image, "tile", None)
    if image.format not in _FORMATS or file is None or not tiles or image.tell():
        return b"", _BYTE
    arguments: Any = tiles[0][3]
    white = _TWO_BYTES if "16" in str(arguments) else _BYTE
    if image.format == "PPM" and isinstance(arguments, tuple) and len(arguments) == 2:
        white = int(arguments[1])
    if white <= _BYTE and image.format in ("PNG", "PPM"):
        return b"", _BYTE
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    if image.format == "JPEG2000":
        start = content.find(_JPEG2000_START)
        depth = content[start + _TO_DEPTH : start + _TO_DEPTH + 1] if start >= 0 else b"\x07"
        white = 2 ** ((depth[0] & 0x7F) + 1) - 1
    return content, white if image.format != "TIFF" else _BYTE


def _stated(image: Image.Image, content: bytes, white: int) -> int | None:
    """White, where the file says more of it than that its numbers have two bytes."""
    if image.format == "PNG":
        white = _significant_white(content)
    return white if white < _TWO_BYTES else None


def _significant_white(png: bytes) -> int:
    """White by a PNG's sBIT chunk: the numbers of bits that mean something, of every colour and then of opacity."""
    place, length, kind = 8, 0, b"IHDR"
    while kind not in (b"IDAT", b"sBIT"):
        length, kind = struct.unpack_from(">I4s", png, place)
        place += 12 + length
    if kind == b"IDAT":
        return _TWO_BYTES
    bits = png[place - 4 - length : place - 4]
    return int(2 ** max(bits[: {2: 1, 4: 3}.get(length, length)], default=16) - 1)


def _by_opencv(content: bytes, name: str, white: int | None) -> Image.Image | None:
    """A picture of two bytes a band; None where it is not."""
    bands = read_by_opencv(content)
    if bands is None or bands.dtype != np.uint16:
        return None
    opacity: Literal["RGBA"] | None = "RGBA" if bands.shape[2] == 4 else None
    # As the PNG standard has it, numbers of fewer bits are scaled up to fill their bytes; not every program does so.
    stated = None if white is None else (0.0, float(white if bands[..., :3].max() <= white else _TWO_BYTES))
    return as_image(bands, name, stated, opacity=opacity)
