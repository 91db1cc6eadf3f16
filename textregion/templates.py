"""Sentences that a word is put into before it is embedded, so that it reads as captions do (method.md section 9)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

from .errors import UserError
from .words import read_lines

PLACE = "{}"
"""Where the word goes."""


@dataclass(frozen=True)
class Templates:
    """One or more texts with a place for the word."""

    texts: tuple[str, ...]
    name: str | None = None
    """None: of a user's own."""

    @property
    def setting(self) -> str | list[str]:
        """What tells them apart beside a result: their name, or else themselves."""
        return self.name or list(self.texts)

    def fill(self, word: str) -> list[str]:
        """The texts with a word in its place."""
        return [text.replace(PLACE, word) for text in self.texts]

    def __len__(self) -> int:
        return len(self.texts)


BUILT_IN = {
    "imagenet": Templates(tuple(template(PLACE) for template in OPENAI_IMAGENET_TEMPLATES), "imagenet"),
    "simple": Templates(tuple(template(PLACE) for template in SIMPLE_IMAGENET_TEMPLATES), "simple"),
    "none": Templates((PLACE,), "none"),
}
"""CLIP's 80 for ImageNet, the seven of them that do nearly as well, and the word alone."""
IMAGENET = BUILT_IN["imagenet"]


TemplatesLike = Union[str, "os.PathLike[str]", Sequence[str], Templates]


def load_templates(given: TemplatesLike) -> Templates:
    """Templates by name, from a file with one a line, or from a list.

    Args:
        given: ``imagenet``, ``simple``, ``none``; a UTF-8 text file (lines that begin with ``#`` are comments); texts.

    Raises:
        UserError: neither a name nor a file, nothing in it, or a text without the place ``{}`` for the word.
    """
    if isinstance(given, Templates):
        return given
    if isinstance(given, str) and given in BUILT_IN:
        return BUILT_IN[given]
    if isinstance(given, (str, os.PathLike)):
        source = f"template file {os.fspath(given)!r}"
        if not os.path.exists(given):
            raise UserError(f"Templates {os.fspath(given)!r} are neither {', '.join(BUILT_IN)} nor a file.")
        lines = [(number, line.strip()) for number, line in read_lines(given, source) if line.strip()]
    else:
        source, lines = "the list of templates", list(enumerate(given, 1))
    for number, text in lines:
        if not isinstance(text, str) or PLACE not in text:
            raise UserError(
                f"Line {number} of {source} has no place for the word: write it as 'a photo of a {PLACE}.'."
            )
    if not lines:
        raise UserError(f"There are no templates in {source}: write one a line, as 'a photo of a {PLACE}.'.")
    return Templates(tuple(text for _, text in lines))
