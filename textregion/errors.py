"""The one kind of error that is the user's to mend."""

from __future__ import annotations

import reprlib


class UserError(ValueError):
    """A mistake in what was asked for: one sentence that names the thing, what came, and the remedy.

    The scripts print it and end with exit status 2; in the library it is an ordinary ``ValueError``.
    """


def reason_of(error: Exception) -> str:
    """An error of another library on one line, not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def described(value: object) -> str:
    """What a value of any kind is, on one line, not too long: of an array its type, shape and number type."""
    name = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple):
        return f"{name} of shape {tuple(shape)} and type {str(dtype).removeprefix('torch.')}"
    text = " ".join(reprlib.repr(value).split())
    return f"{text} ({name})" if len(text) <= 100 else name
