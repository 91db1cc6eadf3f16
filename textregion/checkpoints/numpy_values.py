"""What trainers put beside weights and PyTorch's safe reader does not know: plain numbers and arrays of NumPy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

_PLAIN = "?bBhHiIlLqQefdFD"
"""Booleans and numbers, by NumPy's letters; none of them can hold an object."""
_WRITERS = ("numpy._core.multiarray", "numpy.core.multiarray")
"""Where NumPy 2 and 1 say that their pickled values come from."""


def plain_values() -> AbstractContextManager[Any]:
    """The context in which ``torch.load(weights_only=True)`` takes NumPy's numbers and arrays, and plain settings."""
    dtypes: set[Any] = {type(np.dtype(letter)) for letter in _PLAIN}
    makers = [_known_as(writer, maker) for writer in _WRITERS for maker in (_scalar, _array)]
    allowed: list[Any] = [np.dtype, np.ndarray, argparse.Namespace, *dtypes, *makers]
    known = torch.serialization.get_safe_globals()  # a caller's own stay known when the context ends
    return torch.serialization.safe_globals([each for each in allowed if each not in known])


def _scalar(dtype: np.dtype[Any], data: object) -> Any:
    """The Python number that a pickled NumPy scalar stands for."""
    if dtype.char not in _PLAIN or not isinstance(data, bytes):
        raise ValueError(f"a NumPy value of type {dtype} is no plain number")
    return np.frombuffer(data, dtype, 1)[0].item()


def _array(kind: object, shape: tuple[int, ...], letter: object) -> np.ndarray[Any, Any]:
    """An empty array, which the file then fills; NumPy itself would take any class."""
    return np.empty(0, np.uint8)


def _known_as(module: str, maker: Callable[..., Any]) -> Callable[..., Any]:
    """The maker under the name by which a file asks for NumPy's own; before 2.6 PyTorch takes no name beside it."""
    name = {"_scalar": "scalar", "_array": "_reconstruct"}[maker.__name__]

    def renamed(*args: Any) -> Any:
        return maker(*args)

    renamed.__module__, renamed.__name__, renamed.__qualname__ = module, name, name
    return renamed
