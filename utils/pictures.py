"""Which pictures are meant, and the words for each: the demo's YAML, folders, globs."""

from __future__ import annotations

import glob
import logging
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from textregion import UserError
from textregion.export import MAX_PALETTE
from textregion.image import IMAGE_SUFFIXES
from textregion.words import SEPARATORS, is_word, split_words
from utils.text_files import read_text

logger = logging.getLogger(__name__)

WordsOf = dict[Path, tuple[str, ...]]

_brief = reprlib.Repr()
"""What stands in a message for a value of any size."""
_brief.maxstring = _brief.maxother = 60


def read_queries(config: Path, checkout: Path, most: int = MAX_PALETTE) -> WordsOf:
    """The YAML's pictures and words; a relative path counts from here, from the YAML's folder, or from ``checkout``.

    Args:
        config: the YAML.
        checkout: a folder.
        most: words of a picture.

    Raises:
        UserError: a file that cannot be read, or is not a mapping of image paths to ``label:`` lists.
    """
    text = read_text(config, "check --image_query_cfg")
    try:
        content = yaml.safe_load(text)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, yaml.YAMLError) as error:
        # Dates that do not exist, brackets without end, tags that do not fit their values.
        raise UserError(f"File {str(config)!r} is not a plain YAML file ({error}): mend it.") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"The YAML {str(config)!r} must map image paths to 'label:' lists, but holds {_kind(content)}.")
    queries: WordsOf = {}
    for name, entry in content.items():
        where = f"picture {str(name)!r} in {str(config)!r}"
        if not _may_be_a_path(name):
            raise UserError(
                f"The YAML {str(config)!r} must map image paths to 'label:' lists, but has the key {_brief.repr(name)}."
            )
        if not isinstance(entry, dict) or "label" not in entry:
            raise UserError(f"There is no 'label:' under {where}: write the words to look for there, as a list.")
        bases = [base for base in (Path(), config.parent, checkout) if os.path.isfile(base / name)]
        queries[_short((bases or [Path()])[0] / name)] = check_words(_entries(entry["label"], where), where, most)
    return queries


def _entries(words: Any, where: str) -> Any:
    """A list's texts at ``;``; a comma in one is part of a name, as YAML has its own between the entries of a list."""
    if not isinstance(words, list):
        return words
    for word in words:
        if isinstance(word, str) and "," in word:
            logger.warning(
                "The words of %s hold %s, which is one word: write [dog, grass] for two.", where, _brief.repr(word)
            )
    return [part for word in words for part in (split_words(word) if _has_semicolon(word) else [word])]


def _has_semicolon(word: object) -> bool:
    return isinstance(word, str) and ";" in word


def split_labels(labels: Sequence[str]) -> list[str]:
    """The words of ``--labels``: commas and semicolons separate within an argument as blanks do between arguments."""
    words: list[str] = []
    for text in labels:
        parts = split_words(text, SEPARATORS) if set(text) & set(SEPARATORS) else [text]
        if len(parts) > 1 and not _has_semicolon(text):
            logger.warning(
                "--labels %s is taken as %d words: a name with a comma goes into the YAML.",
                _brief.repr(text),
                len(parts),
            )
        words += parts
    return words


def check_words(words: Any, where: str, most: int = MAX_PALETTE) -> tuple[str, ...]:
    """Words without repetition, as many as ``most``.

    Raises:
        UserError: not a list, an empty one, more than ``most``, or a word that is blank or no text
            (:func:`textregion.words.is_word`).
    """
    if not isinstance(words, list):
        raise UserError(f"The words of {where} must be a list, but are {_kind(words)}: write them as [dog, grass].")
    if not words:
        raise UserError(f"The list of words of {where} is empty: name at least one.")
    for word in words:
        if not is_word(word):
            remedy = "write it in UTF-8" if isinstance(word, str) and word.strip() else "put it in quotes"
            raise UserError(
                f"The words of {where} must be text that is not blank, but there is {_brief.repr(word)}: {remedy}."
            )
    unique = tuple(dict.fromkeys(words))
    if len(unique) > most:
        raise UserError(f"There are {len(unique)} words for {where}: give at most {most}.")
    return unique


def expand(name: str) -> list[Path]:
    """The pictures that one value of ``--image_list`` stands for; a path that does not exist stands for itself.

    Raises:
        UserError: a folder or a glob without pictures, a folder that cannot be read.
    """
    path = Path(name)
    if os.path.isdir(path):
        try:
            files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        except OSError as error:
            raise UserError(f"Folder {name!r} cannot be read ({error.strerror}): check --image_list.") from None
    elif glob.has_magic(name) and not os.path.exists(path):
        files = [Path(file) for file in glob.glob(name, recursive=True)]
    else:
        return [path]
    found = sorted(file for file in files if os.path.isfile(file))
    if not found:
        raise UserError(f"There are no pictures in {name!r}: check --image_list.")
    return found


def _may_be_a_path(name: object) -> bool:
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _short(path: Path) -> Path:
    """The path from here where it lies below, else in full."""
    resolved = Path(os.path.realpath(path))
    return resolved.relative_to(Path.cwd()) if resolved.is_relative_to(Path.cwd()) else resolved


def _kind(value: Any) -> str:
    return "nothing" if not value and value != 0 else f"{_brief.repr(value)} ({type(value).__name__})"
