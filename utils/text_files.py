"""Data that somebody else wrote down: lists, JSON and JSON lines, in any encoding and with line ends of any system."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from textregion.errors import UserError, reason_of

logger = logging.getLogger(__name__)

_MARKS = "\ufeff\x1a"
"""A byte order mark, which also stands in the middle where files were joined, and the end of a file in DOS."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_ANEW = "copy or download it again, or mend it"


def read_text(path: Path, missing: str) -> str:
    """A text file in UTF-8, UTF-16 or UTF-32; in cp1252 or Latin-1 with a warning.

    Args:
        path: the file.
        missing: what to do where it is not there.

    Raises:
        UserError: it is missing, cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"File {str(path)!r} does not exist: {missing}.") from None
    except IsADirectoryError:
        raise UserError(f"{str(path)!r} is a folder where a file is wanted: {missing}.") from None
    except PermissionError:
        raise UserError(f"File {str(path)!r} may not be read: check its permissions.") from None
    except OSError as error:
        raise UserError(f"File {str(path)!r} cannot be read ({error.strerror or error}): {_ANEW}.") from None
    text = _decode(data, path)
    if "\0" in text:
        raise UserError(f"File {str(path)!r} is no text: {_ANEW}.")
    return text


def read_lines(path: Path, missing: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, without blanks around them, with their numbers from 1.

    Raises:
        UserError: see :func:`read_text`.
    """
    lines = enumerate(_LINE_END.split(read_text(path, missing)), 1)
    stripped = ((number, line.strip(f"{_MARKS} \t")) for number, line in lines)
    return [(number, line) for number, line in stripped if line]


def read_json(path: Path, missing: str) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: see :func:`read_text`; or it is not JSON.
    """
    return _parse(read_text(path, missing), f"File {str(path)!r}")


def read_json_lines(path: Path, missing: str) -> list[tuple[int, Any]]:
    """The values of a file with one JSON value a line, with the numbers of the lines; or those of one JSON array, with
    their places in it, from 1.

    Raises:
        UserError: see :func:`read_text`; or a line is not JSON.
    """
    lines = read_lines(path, missing)
    if _begins_array([line for _, line in lines]):
        return list(enumerate(read_json(path, missing), 1))
    return [(number, _parse(line.removesuffix(","), f"Line {number} of {str(path)!r}")) for number, line in lines]


def visible(paths: Iterable[Path]) -> list[Path]:
    """The files among paths, sorted, without hidden ones: ``._a.json`` and ``.DS_Store`` only look like data."""
    return sorted(path for path in paths if not path.name.startswith(".") and os.path.isfile(path))


def _begins_array(lines: Sequence[str]) -> bool:
    """Whether a file of these lines is one array: its first line alone would not be JSON, or is all there is."""
    if not lines or not lines[0].startswith("["):
        return False
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        return True
    return len(lines) == 1


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text.strip(_MARKS))
    except RecursionError:
        reason = "its brackets have no end"
    except ValueError as error:
        reason = reason_of(error)
    raise UserError(f"{what} is not JSON ({reason}): {_ANEW}.")


def _decode(data: bytes, path: Path) -> str:
    encoding = json.detect_encoding(data)  # by the mark, or by where zeros are
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise UserError(f"File {str(path)!r} begins as {encoding} text and is none: save it as UTF-8.") from None
    try:
        text, taken = data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        text, taken = data.decode("latin-1"), "Latin-1"  # which fits any bytes
    logger.warning("File %r is not UTF-8 and is read as %s.", str(path), taken)
    return text
