"""TIFF files that Pillow gets wrong or not at all: deep or signed numbers, more than four bands, planes, pages."""

from __future__ import annotations

import io
import itertools
import logging
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageChops

from ..errors import UserError
from .decoders import quiet, read_by_opencv
from .depth import Numbers, Range, as_image

logger = logging.getLogger(__name__)

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF file starts."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_OPACITY: dict[int, Literal["RGBa", "RGBA"]] = {1: "RGBa", 2: "RGBA"}
_UNSIGNED, _CHUNKY = 1, 1
_PREVIEW_OR_MASK = 0b101
_LEAST, _MOST = ("SMinSampleValue", "MinSampleValue"), ("SMaxSampleValue", "MaxSampleValue")


@dataclass(frozen=True)
class Page:
    """What the tags of a page say."""

    index: int
    size_hw: tuple[int, int]
    bands: int
    bits: int
    is_bytes: bool
    """Whether its numbers are unsigned, of 8 bits or less."""
    photometric: int
    """TIFF's PhotometricInterpretation."""
    extra: tuple[int, ...]
    """TIFF's ExtraSamples: what the bands behind the colours are."""
    stated: Range | None
    """The least and the most that its numbers are said to be."""
    orientation: int
    tags: Any
    """tifffile's own object."""

    @classmethod
    def of(cls, index: int, tags: Any) -> Page:
        """From tifffile's page.

        Raises:
            Exception: of any kind, over damaged tags.
        """
        bits = int(tags.bitspersample)
        least, most = (_first_number(tags.tags, names) for names in (_LEAST, _MOST))
        stated = None
        if most is not None and most < 2.0**bits - 1:
            stated = least or 0.0, most
        elif 8 < bits < 16:
            stated = 0.0, 2.0**bits - 1
        return cls(
            index,
            (int(tags.imagelength), int(tags.imagewidth)),
            int(tags.samplesperpixel),
            bits,
            bits <= 8 and int(tags.sampleformat) == _UNSIGNED,
            int(tags.photometric),
            tuple(int(kind) for kind in tags.extrasamples),
            stated if bits > 8 else None,
            int(_first_number(tags.tags, ("Orientation",)) or 1),
            tags,
        )

    @property
    def is_grey(self) -> bool:
        return self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)

    @property
    def colours(self) -> int:
        """How many of its bands are colours, where they are grey, or red, green and blue; else 0."""
        return 1 if self.is_grey else 3 if self.photometric == _RGB else 0

    @property
    def opacity(self) -> Literal["RGBa", "RGBA"] | None:
        """What the band behind the colours is, in Pillow's terms."""
        return _OPACITY.get(self.extra[0]) if self.extra and self.bands > self.colours else None

    @property
    def is_mistaken(self) -> bool:
        """Whether Pillow opens it and gets its numbers wrong, or throws away their lower bits."""
        return self.colours > 0 and not self.is_bytes


def _first_number(tags: Any, names: tuple[str, ...]) -> float | None:
    """The first band's value of the first tag that is there."""
    for name in names:
        if name in tags:
            return float(np.ravel(tags[name].value)[0])
    return None


def find_page(content: bytes, name: str) -> Page | None:
    """The page that is the picture; None: it is no TIFF file, or its tags are damaged.

    Args:
        content: of the file.
        name: what messages call the picture.

    Raises:
        UserError: no page is a whole picture; several pages, or several bands, may be anything.
    """
    import tifffile

    if content[:4] not in MAGIC:
        return None
    with quiet("tifffile"):
        try:
            pages: Any = tifffile.TiffFile(io.BytesIO(content)).pages
            numbered = ((index, pages[index]) for index in range(len(pages)))
            whole = (Page.of(index, tags) for index, tags in numbered if not tags.subfiletype & _PREVIEW_OR_MASK)
            found, count = list(itertools.islice(whole, 2)), len(pages)
        except Exception:  # whatever damaged tags happen to cause
            return None
    if not found:
        raise UserError(f"{name} has previews or masks as its pages, but no picture: convert it to PNG or JPEG.")
    if len(found) == 2:
        _check_pages(found, count, name)
    page = found[0]
    if page.is_grey and page.bands > 1 and (page.bands > 2 or page.opacity is None):
        raise UserError(
            f"{name} has {page.bands} bands and does not say which of them are red, green and blue: save those three "
            "as an RGB picture."
        )
    return page


def _check_pages(found: list[Page], count: int, name: str) -> None:
    first, second = found
    if first.is_grey and first.bits >= 8 and first.size_hw == second.size_hw:
        height, width = first.size_hw
        raise UserError(
            f"{name} has {count} grey pages of {height} x {width}, which may be sheets, slices or bands: save the page "
            "that is meant, or the three that are red, green and blue, as one picture."
        )
    logger.info("%s has %d pages: page %d (counted from 0) is taken.", name, count, first.index)


def decode(page: Page, content: bytes, name: str) -> Image.Image:
    """A page as it is stored, in 8 bits a band: grey or RGB, with or without opacity.

    Raises:
        UserError: colours or numbers of another kind, too many pixels, a file that is cut off.
    """
    if page.colours == 0:
        kind = getattr(page.tags.photometric, "name", page.photometric)
        raise UserError(f"{name} holds {kind} colours of {page.bits} bits: convert it to RGB.")
    height, width = page.size_hw
    if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise UserError(f"{name} is too large to open safely: make it smaller first.")
    values = _values(page, content, name)[..., : page.colours + (page.opacity is not None)]
    image = as_image(values, name, page.stated, opacity=page.opacity)
    return ImageChops.invert(image) if page.photometric == _WHITE_IS_ZERO and page.opacity is None else image


def _values(page: Page, content: bytes, name: str) -> Numbers:
    """(H, W, bands) numbers of any type."""
    tags = page.tags
    if any(start + length > len(content) for start, length in zip(tags.dataoffsets, tags.databytecounts)):
        raise UserError(f"{name} is damaged (it is cut off): save it again.")
    try:
        with quiet("tifffile"):
            values = tags.asarray()
    except Exception as error:  # of a type of its own in every release
        if "imagecodecs" not in str(error):
            raise
        return _by_opencv(page, content, name)
    if tags.axes == "YX":
        values = values[..., None]
    elif tags.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if values.shape != (*page.size_hw, page.bands):
        raise UserError(f"{name} is no flat picture, but has the axes {tags.axes}: convert it to PNG or JPEG.")
    numbers: Numbers = values
    return numbers


def _by_opencv(page: Page, content: bytes, name: str) -> Numbers:
    """(H, W, bands) numbers of a page whose compression or bits tifffile leaves to a package that is not there."""
    values = None
    if page.index == 0 and page.bands <= 4 and int(page.tags.planarconfig) == _CHUNKY:
        values = read_by_opencv(_unturned(page, content))
    if values is None or values.shape != (*page.size_hw, page.bands):
        raise UserError(
            f"{name} is compressed ({page.tags.compression.name}, {page.bits} bits) in a way that is not read here: "
            "save it without compression."
        )
    spare = 16 - page.bits
    if 0 < spare < 8 and not bool((values & np.uint16(2**spare - 1)).any()):
        values = values >> spare  # OpenCV puts 10, 12 and 14 bits into the upper ones of 16
    return values


def _unturned(page: Page, content: bytes) -> bytes:
    """The file with an orientation that asks OpenCV for nothing."""
    tag = page.tags.tags.get("Orientation")
    if tag is None:
        return content
    upright = struct.pack(page.tags.parent.byteorder + "H", 1)
    return content[: tag.valueoffset] + upright + content[tag.valueoffset + len(upright) :]
