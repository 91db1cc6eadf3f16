"""Words as a legend can show them: on one line, without what cannot be seen, broken where there is no more room."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable

from PIL import features

JOINERS = "\u200c\u200d"
"""They join or part the letters beside them, so they stay although they cannot be seen."""
MOST_MARKS = 3
"""Accents on one letter; a heap of them would cover the lines above."""


def visible(text: str) -> str:
    """The text on one line without control characters, direction marks, half characters and heaps of accents."""
    shown: list[str] = []
    marks = 0
    for letter in " ".join(text.split()):
        kind = unicodedata.category(letter)
        selector = "\ufe00" <= letter <= "\ufe0f"
        if selector or kind in ("Cc", "Cs") or (kind == "Cf" and letter not in JOINERS):
            continue
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if marks <= MOST_MARKS:
            shown.append(letter)
    return "".join(shown).strip()


def spell_symbols(text: str, can_be_drawn: Callable[[str], bool]) -> str:
    """The text with the name of every symbol that cannot be drawn in its place: ``[dog face]``."""
    spelled = []
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "So" and not can_be_drawn(letter):
            spelled.append(f"[{unicodedata.name(letter, 'symbol').lower()}]")
        elif kind != "Sk" and letter != "\u200d":  # a skin colour, and what makes one family of several people
            spelled.append(letter)
    return "".join(spelled)


def wrap(text: str, length: Callable[[str], float], room: float, most: int) -> list[str]:
    """Lines no longer than the room: broken between words, and inside one that is too long by itself.

    Args:
        text: on one line.
        length: of a line, as it is drawn.
        room: for a line.
        most: lines; a text that needs more ends in an ellipsis.
    """
    lines = [""]
    for piece in text.split(" "):
        if length(joined := f"{lines[-1]} {piece}".lstrip()) <= room:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in piece:
            if lines[-1] and not unicodedata.category(letter).startswith("M") and length(lines[-1] + letter) > room:
                lines.append("")
            lines[-1] += letter
            if len(lines) > most:
                return [*lines[: most - 1], _ellipsis(lines[most - 1], length, room)]
    return lines


def _ellipsis(line: str, length: Callable[[str], float], room: float) -> str:
    while line and length(line + "…") > room:
        line = line[:-1]
    return line.rstrip() + "…"


def as_drawn(line: str) -> str:
    """A line in the order in which its letters are drawn from the left.

    Raqm sees to that where Pillow has it; without it, words that are read from right to left are turned round here.
    """
    if features.check_feature("raqm"):
        return line
    turned: list[str] = []
    for backwards, pieces in itertools.groupby(line.split(" "), _is_backwards):
        turned += [piece[::-1] for piece in reversed(list(pieces))] if backwards else pieces
    return " ".join(turned)


def _is_backwards(piece: str) -> bool:
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in piece)
