"""Which regions an index means: an int, a slice, a list of ints, a boolean mask; NumPy's and PyTorch's alike."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import described

Index = int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[np.generic] | Tensor


def positions(index: Index, count: int) -> Tensor:
    """The places that an index means among ``count``, in its order: (n,) int64 on the CPU, each 0 or more.

    Negative numbers count from the end, as everywhere in Python.

    Raises:
        IndexError: a number that is out of range, a boolean mask of another length.
        TypeError: an index of another kind.
    """
    if isinstance(index, slice):
        return torch.tensor(range(*index.indices(count)), dtype=torch.int64, device="cpu")
    chosen = _as_array(index)
    if chosen.dtype == bool:
        if len(chosen) != count:
            raise IndexError(f"A boolean mask of {len(chosen)} does not fit {count} regions: give one value a region.")
        return torch.from_numpy(np.flatnonzero(chosen))
    outside = chosen[(chosen < -count) | (chosen >= count)]
    if len(outside):
        raise IndexError(f"There is no region {outside[0]}: there are {count}, counted from 0.")
    return torch.from_numpy(chosen % max(count, 1))


def _as_array(index: object) -> npt.NDArray[Any]:
    """(n,) bool or int64."""
    values: npt.NDArray[Any] = np.zeros((), object)
    if isinstance(index, Tensor):
        values = index.detach().cpu().numpy()
    elif isinstance(index, (int, np.generic, np.ndarray, list, tuple, range)):
        with contextlib.suppress(ValueError, TypeError):  # a list of lists of unequal lengths
            values = np.asarray(index)
    is_mask = values.dtype == bool and values.ndim == 1
    is_integer = values.dtype.kind in "iu" and values.ndim <= 1
    if not (is_mask or is_integer or values.shape == (0,)):
        raise TypeError(
            f"Regions are picked by an int, a slice, a list of ints or a boolean mask, but got {described(index)}."
        )
    return values if is_mask else values.reshape(-1).astype(np.int64)
