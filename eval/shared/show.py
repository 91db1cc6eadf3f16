"""Pictures of single examples: what was asked, what was found, what is right."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eval.shared.metrics import Box, Mask
from textregion.export import png
from textregion.files import write_bytes
from textregion.image import RGB

Colour = tuple[int, int, int]
RIGHT, FOUND, REGION, IGNORED = (0, 150, 60), (215, 40, 40), (255, 140, 0), (110, 110, 110)
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_SHORTEST_LONG_SIDE = 640


@dataclass(frozen=True)
class Area:
    """A mask (H, W) in a colour: filled, or its outline alone."""

    mask: Mask
    colour: Colour
    filled: bool = True


@dataclass(frozen=True)
class Frame:
    """A box in a colour."""

    box_xywh: Box
    colour: Colour


def draw(
    image: RGB, areas: Sequence[Area], frames: Sequence[Frame], lines: Sequence[tuple[str, Colour | None]]
) -> Image.Image:
    """A picture with areas and boxes, and lines of text under it, each with a swatch of its colour if it has one."""
    factor = max(1, -(-_SHORTEST_LONG_SIDE // max(image.shape[:2])))
    canvas = image.repeat(factor, 0).repeat(factor, 1)
    stroke = max(2, round(max(canvas.shape) / 300))
    for area in areas:
        canvas = _paint(canvas, area, factor, stroke)
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for frame in frames:
        x, y, width, height = (factor * value for value in frame.box_xywh)
        corners = (x, y, max(x, x + width), max(y, y + height))
        pen.rectangle(corners, outline=_PAPER, width=stroke + 2)
        pen.rectangle(corners, outline=frame.colour, width=stroke)
    return _with_lines(picture, lines)


def save(picture: Image.Image, folder: Path, name: str) -> None:
    """Write ``<folder>/<name>.png`` (see :func:`write_picture`); the name is made safe for a file system."""
    safe = re.sub(r"[^\w+.-]+", "_", name)
    if len(safe.encode()) > 150:
        safe = f"{safe[:60]}_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    write_picture(picture, folder / f"{safe}.png")


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all; missing folders are made.

    Raises:
        UserError: the file cannot be written.
    """
    write_bytes(path, png(picture))


def _paint(canvas: RGB, area: Area, factor: int, stroke: int) -> RGB:
    mask = area.mask.astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
    painted = canvas.copy()
    if area.filled:
        blend = (0.5 * canvas + 0.5 * np.array(area.colour)).astype(np.uint8)
        painted[mask > 0] = blend[mask > 0]
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, contours, -1, area.colour, stroke)
    return painted


def _with_lines(picture: Image.Image, lines: Sequence[tuple[str, Colour | None]]) -> Image.Image:
    size = max(14, round(max(picture.size) / 42))
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
    room = picture.width - 3 * size
    rows = [row for text, colour in lines for row in _rows(text, font, room, colour)]
    canvas = Image.new("RGB", (picture.width, picture.height + round(1.4 * size * len(rows)) + size), _PAPER)
    canvas.paste(picture)
    pen = ImageDraw.Draw(canvas)
    for number, (text, swatch) in enumerate(rows):
        top = picture.height + round(1.4 * size * number) + size // 2
        if swatch:
            pen.rectangle((size // 2, top, size // 2 + size, top + size), fill=swatch)
        pen.text((2 * size, top - size // 8), text, fill=_INK, font=font)
    return canvas


def _rows(
    text: str, font: ImageFont.FreeTypeFont, room: float, colour: Colour | None
) -> list[tuple[str, Colour | None]]:
    """The text broken between words; the swatch stands beside the first row."""
    rows = [""]
    for word in text.split():
        joined = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(joined) > room:
            rows.append(word)
        else:
            rows[-1] = joined
    return [(row, colour if number == 0 else None) for number, row in enumerate(rows)]
