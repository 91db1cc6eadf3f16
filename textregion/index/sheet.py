"""Answers drawn into one picture: a grid of thumbnails, each with its region outlined and its name below."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError
from ..image import RGB, load_rgb, resize, resized_hw
from .hits import Hit

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_SIDE, _GAP, _TEXT = 240, 12, 34
_MOST_COLUMNS = 6
_PAPER, _INK, _EMPTY = (250, 250, 248), (40, 40, 44), (214, 214, 210)
_LINE, _HALO = (255, 64, 32), (255, 255, 255)


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The format of a sheet of that name.

    Raises:
        UserError: a suffix that tells none.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in SUFFIXES:
        raise UserError(f"The sheet {os.fspath(path)!r} must end in one of {', '.join(SUFFIXES)}.")
    return SUFFIXES[suffix]


def contact_sheet(hits: Sequence[Hit], format_: str = "JPEG") -> bytes:
    """A picture file with all hits; a picture that cannot be read any more is an empty field.

    Args:
        hits: in the order in which they are drawn.
        format_: as :func:`check_suffix` gives it.
    """
    columns = max(1, min(_MOST_COLUMNS, len(hits)))
    rows = max(1, -(-len(hits) // columns))
    size = (columns * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _TEXT + _GAP) + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, hit in enumerate(hits):
        left = _GAP + number % columns * (_SIDE + _GAP)
        top = _GAP + number // columns * (_SIDE + _TEXT + _GAP)
        thumbnail = _thumbnail(hit)
        if thumbnail is None:
            draw.rectangle((left, top, left + _SIDE, top + _SIDE), fill=_EMPTY)
        else:
            height, width = thumbnail.shape[:2]
            sheet.paste(Image.fromarray(thumbnail), (left + (_SIDE - width) // 2, top + (_SIDE - height) // 2))
        name = _fitting(os.path.basename(hit.picture), font)
        draw.text((left, top + _SIDE + 3), f"{name}\n{figures(hit)}", fill=_INK, font=font)
    content = io.BytesIO()
    sheet.save(content, format=format_, quality=90)
    return content.getvalue()


def figures(hit: Hit) -> str:
    """Score and, where there is one, relevance."""
    return f"{hit.score:.3f}" + ("" if hit.relevance is None else f"  {hit.relevance:.2f}")


def _thumbnail(hit: Hit) -> RGB | None:
    """(h, w, 3), at most the tile's side, with the region outlined."""
    try:
        image = load_rgb(hit.picture)
    except UserError:
        return None
    small_hw = resized_hw((image.shape[0], image.shape[1]), (_SIDE, _SIDE))
    small = np.ascontiguousarray(resize(image, small_hw))
    mask = cv2.resize(hit.low_mask().view(np.uint8), small_hw[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for colour, thickness in ((_HALO, 4), (_LINE, 2)):
        cv2.drawContours(small, outlines, -1, colour, thickness, cv2.LINE_AA)
    return small


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The name on one line, its middle left out where it is too long."""
    plain = "".join(char if char.isprintable() and not "\ud800" <= char <= "\udfff" else "?" for char in name)
    shown, room = plain, len(plain)
    while font.getlength(shown) > _SIDE and room > 8:
        room -= 2
        shown = plain[: room // 2] + "..." + plain[-(room // 2) :]
    return shown
