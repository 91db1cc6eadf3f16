"""Words as users write them: what is one, where one ends and the next begins, class files."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from .errors import UserError, described

logger = logging.getLogger(__name__)

SEPARATORS = ",;，；、"
"""Of words that are typed one after the other; where names with commas are usual, only ``;`` is one."""
COMMENT = "#"
"""A line of a text file that begins with it says nothing."""
_BETWEEN_WORDS = re.compile(r"\s*;\s*")
_MAY_BE_A_SEPARATOR = re.compile(r"[,，、；|]| #")
"""What other files separate words or remarks with; here it is part of a name."""
_LINES_NAMED = 3


@dataclass(frozen=True)
class ClassWords:
    """Query words and the class of each: several words may stand for one class."""

    words: tuple[str, ...]
    class_of: tuple[int, ...]
    """Class index of each word, not decreasing, without gaps."""

    @property
    def num_classes(self) -> int:
        return self.class_of[-1] + 1

    @classmethod
    def from_lines(cls, lines: Sequence[str], source: str = "the class list") -> ClassWords:
        """One class a line, synonyms separated by ``;`` and any blanks around it; nothing else is stripped.

        Raises:
            UserError: no line, an empty word, a tab within one.
        """
        return cls._from_numbered(list(enumerate(lines, 1)), source)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], comma_names: bool = False) -> ClassWords:
        """Read a class file: one class a line as in :meth:`from_lines`, read as :func:`read_lines` does.

        Args:
            path: the file.
            comma_names: names with a comma in them are meant; else a warning tells which lines have any.

        Raises:
            UserError: a file that cannot be read, or what :meth:`from_lines` refuses.
        """
        name = f"class file {os.fspath(path)!r}"
        lines = read_lines(path, name)
        words = cls._from_numbered(lines, name)
        if not comma_names:
            _warn_of_separators(words, [number for number, _ in lines], name)
        return words

    @classmethod
    def _from_numbered(cls, lines: Sequence[tuple[int, str]], source: str) -> ClassWords:
        pairs = [(word, index) for index, (_, line) in enumerate(lines) for word in _split_line(line)]
        for word, index in pairs:
            number = lines[index][0]
            if not word.strip():
                raise UserError(f"Line {number} of {source} holds an empty word: remove it or write a class name.")
            if "\t" in word:
                raise UserError(f"Line {number} of {source} has a tab within a name: separate words by ';'.")
        if not pairs:
            raise UserError(f"There are no words in {source}: write one class a line.")
        return cls(tuple(word for word, _ in pairs), tuple(index for _, index in pairs))


def _split_line(line: str) -> list[str]:
    """The words of a line; its own outer blanks stay, as in the published files, where no tab is among them."""
    return _BETWEEN_WORDS.split(line.strip() if "\t" in line else line)


def _warn_of_separators(words: ClassWords, line_of: Sequence[int], name: str) -> None:
    """Say which words hold what may have been meant to separate two.

    Args:
        words: of a file.
        line_of: the line of each class.
        name: the file's.
    """
    pairs = zip(words.words, words.class_of)
    doubtful = [(word, line_of[index]) for word, index in pairs if _MAY_BE_A_SEPARATOR.search(word)]
    if not doubtful:
        return
    (word, first), *others = doubtful
    further = ", ".join(str(line) for _, line in others[:_LINES_NAMED])
    further += f" and {len(others) - _LINES_NAMED} more" if len(others) > _LINES_NAMED else ""
    also = f" (so in line {further})" if others else ""
    logger.warning("%s: only ';' separates words, so %r in line %d is one word%s.", _capital(name), word, first, also)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def read_lines(path: str | os.PathLike[str], name: str) -> list[tuple[int, str]]:
    """The lines of a UTF-8 text file with their numbers, from 1.

    A byte order mark, line ends of any system, comments (lines that begin with ``#``) and blank lines at the end are
    left out.

    Args:
        path: the file.
        name: what it is called in a message.

    Raises:
        UserError: it cannot be read, or is not UTF-8 text.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise UserError(f"{_capital(name)} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"{_capital(name)} is not UTF-8 text: save it as UTF-8.")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if not line.lstrip().startswith(COMMENT)]
    while lines and not lines[-1][1].strip():
        lines.pop()
    return lines


def split_words(text: str, separators: str = ";") -> list[str]:
    """The words between separators, without blanks around them; what is empty between two separators is none."""
    parts = re.split(f"[{re.escape(separators)}]", text)
    return [part.strip() for part in parts if part.strip()]


def as_words(words: Iterable[str]) -> tuple[str, ...]:
    """Words in their order.

    Args:
        words: a list, a tuple, or whatever else gives one text after the other in an order of its own.

    Raises:
        UserError: a single text, which would be read letter by letter; something without an order; no words; one that
            is blank or no text (:func:`is_word`).
    """
    if isinstance(words, (str, bytes, Set, Mapping)) or not isinstance(words, Iterable):
        raise UserError(
            f"Expected a list of at least one word, such as ['red truck', 'wheel'], but got {described(words)}."
        )
    listed = tuple(words)
    if not listed:
        raise UserError("Expected a list of at least one word, but it is empty.")
    for word in listed:
        if not is_word(word):
            raise UserError(f"Every word must be text that is not blank, but got {described(word)}.")
    return listed


BACKGROUND = "background"
"""What a single word is painted against."""


def against_background(words: Sequence[str], background: str = BACKGROUND) -> tuple[str, ...]:
    """The words, and behind a single one another for all that it does not mean: alone it would be certain everywhere,
    however little a picture has to do with it. Nothing is added where ``background`` is empty or the word itself."""
    return (*words, background) if len(words) == 1 and background not in ("", *words) else tuple(words)


def is_word(value: object) -> bool:
    """Whether it is a text that can be looked for: not blank, and without half characters (lone surrogates), which are
    what is left of bytes that are not UTF-8."""
    return (
        isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    )
