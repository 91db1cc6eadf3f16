"""The words on a picture: names on their regions, and the legend below with every word's share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import fonts, lettering, placing
from .tint import Colours, Index

INK, PAPER = (24, 24, 24), (255, 255, 255)
SMALLEST_LETTERS, LARGEST_LETTERS = 14, 100
_MOST_LINES = 3
_NAME_SIZES = (1.0, 0.75)
"""Of the letters of a name on its region, in those of the legend."""
_LEGEND_SIZES = (1.0, 0.85, 0.7)
"""Of the letters of the legend; for many words the smaller ones."""
_HALO_LIGHT = 16.0
"""CIELAB lightness of what surrounds the white letters of a name: its word's colour, darkened."""


def letter_size(size_hw: tuple[int, int]) -> int:
    """Height of a picture's letters in pixels, by its longer side; those of a strip are not much higher than it is."""
    return min(max(SMALLEST_LETTERS, round(min(0.02 * max(size_hw), 0.1 * min(size_hw)))), LARGEST_LETTERS)


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    text: str
    font: str
    share: str
    colour: tuple[int, ...]
    striped: bool = False


def share(fraction: float) -> str:
    """A part of the picture in percent."""
    return f"{fraction:.1%}" if fraction >= 0.001 else "<0.1%"


@dataclass(frozen=True)
class _Form:
    """A way to write a name: its lines in letters of a size, and what they cover."""

    text: str
    font: ImageFont.FreeTypeFont
    halo: int
    box: tuple[int, int, int, int]

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


def draw_names(canvas: Image.Image, index: Index, words: Sequence[tuple[str, str]], colours: Colours) -> None:
    """Write names on their regions, where they fit.

    Args:
        canvas: the picture lies at its top left.
        index: (H, W) word of each pixel of the picture; K: none.
        words: what stands for each of the K words, and its font.
        colours: (K, 3).
    """
    draw = ImageDraw.Draw(canvas)
    height, width = index.shape
    size = letter_size((height, width))
    present = np.flatnonzero(np.bincount(index.ravel(), minlength=len(words) + 1)[: len(words)])
    forms = [_forms(*words[word], size, draw) if word in present else [] for word in range(len(words))]
    for place in placing.place_names(index, [[form.size_wh for form in of] for of in forms]):
        form, (x, y) = forms[place.word][place.form], place.centre_xy
        (w, h), (left, top, *_) = form.size_wh, form.box
        draw.multiline_text(
            (x - w // 2 - left, y - h // 2 - top),
            form.text,
            fill=PAPER,
            font=form.font,
            spacing=form.halo,
            align="center",
            stroke_width=form.halo,
            stroke_fill=halo_colour(colours[place.word]),
        )


def _forms(text: str, font: str, size: int, draw: ImageDraw.ImageDraw) -> list[_Form]:
    """On one line, then on two, in letters of the usual size, then in smaller ones."""
    pieces = text.split(" ")
    splits = [" ".join(pieces[:at]) + "\n" + " ".join(pieces[at:]) for at in range(1, len(pieces))]
    texts = [text, *sorted(splits, key=lambda two: max(map(len, two.split("\n"))))[:1]]
    forms = []
    for part in _NAME_SIZES:
        letters = ImageFont.truetype(font, max(SMALLEST_LETTERS - 3, round(size * part)))
        halo = max(1, round(letters.size / 9))
        for lines in texts:
            drawn = "\n".join(map(lettering.as_drawn, lines.split("\n")))
            box = draw.multiline_textbbox((0, 0), drawn, font=letters, spacing=halo, align="center", stroke_width=halo)
            left, top, right, bottom = np.array([np.floor(box[:2]), np.ceil(box[2:])]).astype(int).ravel().tolist()
            forms.append(_Form(drawn, letters, halo, (left, top, right, bottom)))
    return forms


def halo_colour(colour: Colours) -> tuple[int, int, int]:
    """A word's colour, dark enough for white letters."""
    lab = cv2.cvtColor(colour[None, None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    lab *= np.array([_HALO_LIGHT / max(_HALO_LIGHT, float(lab[0, 0, 0])), 0.5, 0.5], np.float32)
    red, green, blue = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[0, 0] * 255), 0, 255).astype(int).tolist()
    return red, green, blue


def panel(entries: Sequence[Entry], size_hw: tuple[int, int]) -> Image.Image:
    """The legend below a picture of that size, in letters that are smaller where it would else be as high as it."""
    usual = letter_size(size_hw)
    sizes = [max(SMALLEST_LETTERS, round(usual * part)) for part in _LEGEND_SIZES]
    return next(
        (drawn for size in sizes[:-1] if (drawn := _panel(entries, size, size_hw[1])).height <= size_hw[0] / 3),
        _panel(entries, sizes[-1], size_hw[1]),
    )


def _panel(entries: Sequence[Entry], size: int, width: int) -> Image.Image:
    """Entries in columns that are read downwards, as many as the width takes."""
    width = max(14 * size, width)
    letters = {name: ImageFont.truetype(name, size) for name in {fonts.USUAL, *(entry.font for entry in entries)}}
    swatch, gap, row = round(size * 1.2), size // 2, round(size * 1.5)
    room = min(width - 3 * gap - swatch, 18 * size)
    written = [_lines(entry, letters, room) for entry in entries]
    widest = max((width for _, _, width in written), default=0.0)
    column_width = round(widest) + swatch + 3 * gap
    tops = [row * sum(len(lines) for lines, _, _ in written[:i]) for i in range(len(written) + 1)]
    columns = max(1, min(width // column_width, len(entries)))
    longest = row * -(-tops[-1] // (row * columns))
    column_of = [top // longest for top in tops[:-1]]
    starts = [tops[column_of.index(column)] for column in column_of]
    tallest = max((tops[i + 1] - starts[i] for i in range(len(entries))), default=0)
    drawn = Image.new("RGB", (max(column_width * columns, width), tallest + 2 * gap), PAPER)
    draw = ImageDraw.Draw(drawn)
    for entry, (lines, behind, _), top, start, column in zip(entries, written, tops, starts, column_of):
        left, middle = column * column_width + gap, gap + top - start + row // 2
        _draw_swatch(drawn, (left, middle - swatch // 2, left + swatch, middle + swatch // 2), entry, size)
        left += swatch + gap
        for text in lines:
            draw.text((left, middle), text, fill=INK, font=letters[entry.font], anchor="lm")
            middle += row
        draw.text((left + behind, middle - row), entry.share, fill=INK, font=letters[fonts.USUAL], anchor="lm")
    return drawn


def _draw_swatch(drawn: Image.Image, box: tuple[int, int, int, int], entry: Entry, size: int) -> None:
    draw = ImageDraw.Draw(drawn)
    draw.rectangle(box, fill=entry.colour)
    if entry.striped:
        left, top, right, bottom = box
        rows, cols = np.mgrid[top : bottom + 1, left : right + 1]
        stripes = (rows + cols) // max(2, size // 4) % 2
        drawn.paste(PAPER, (left, top), Image.fromarray((stripes * 255).astype(np.uint8)))
    draw.rectangle(box, outline=INK, width=max(1, size // 14))


def _lines(entry: Entry, letters: dict[str, ImageFont.FreeTypeFont], room: float) -> tuple[list[str], float, float]:
    """The word's lines, how far behind the start of the last its share stands, and the width of them all.

    The share is drawn by itself, or it would stand in front of a word that is read from right to left.
    """
    measure, usual = letters[entry.font].getlength, letters[fonts.USUAL].getlength
    lines = [lettering.as_drawn(line) for line in lettering.wrap(entry.text, measure, room, _MOST_LINES)]
    behind = measure(lines[-1]) + usual("  ")
    if behind + usual(entry.share) > room:
        lines.append("")
        behind = 0.0
    return lines, behind, max(behind + usual(entry.share), *map(measure, lines))
