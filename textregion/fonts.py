"""What stands for a word on a picture, and in which font: with :mod:`visualize` the only user of matplotlib."""

from __future__ import annotations

import functools
import itertools
import logging
from pathlib import Path

import matplotlib
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

from . import lettering

logger = logging.getLogger(__name__)

USUAL = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
"""The font that comes with matplotlib, so that pictures look alike on every machine."""


def written(word: str, number: int) -> tuple[str, str]:
    """What stands for a word, and in which font: the word, symbols by their names, or its number in the list."""
    text = lettering.visible(word)
    for shown in (text, lettering.spell_symbols(text, lambda symbol: has_letters(USUAL, symbol))):
        font = _font_with(shown)
        if shown and font is not None:
            return shown, font
    logger.warning("No font of this machine has the letters of %r: the legend calls it 'word %d'.", word[:60], number)
    return f"word {number}", USUAL


@functools.lru_cache(maxsize=1024)
def _font_with(text: str) -> str | None:
    """The first font that has all letters of a text, the usual one before the others of the machine."""
    plain = (font for font in fontManager.ttflist if (font.style, font.weight) == ("normal", 400))
    others = (font.fname for font in plain if "lastresort" not in font.name.lower().replace(" ", ""))
    return next((font for font in itertools.chain([USUAL], others) if has_letters(font, text)), None)


def has_letters(font: str, text: str) -> bool:
    """Whether a font file has a glyph for every letter that is seen."""
    try:
        face = FT2Font(font)
    except (RuntimeError, OSError):  # a damaged font, or one that is gone
        return False
    return face.scalable and all(face.get_char_index(ord(letter)) or letter in lettering.JOINERS for letter in text)
