"""An index means what it means for a Python list, whatever it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textregion.indexing import positions

ints = st.integers(-9, 8)


@given(st.integers(0, 9), st.one_of(ints, st.slices(9), st.lists(ints, max_size=6)))
def test_ints_slices_and_lists_are_those_of_a_list(count: int, index: Any) -> None:
    plain = list(range(count))
    try:
        expected = [plain[one] for one in index] if isinstance(index, list) else plain[index]
    except IndexError:
        with pytest.raises(IndexError, match="There is no region"):
            positions(index, count)
        return
    expected = expected if isinstance(expected, list) else [expected]
    assert positions(index, count).tolist() == expected
    if isinstance(index, list):
        whole = np.array(index, np.int32)
        for same in (tuple(index), whole, torch.from_numpy(whole)):
            assert positions(same, count).tolist() == expected


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_boolean_masks(keep: list[bool]) -> None:
    expected = np.flatnonzero(keep).tolist()
    for mask in (keep, np.array(keep), torch.tensor(keep)):
        assert positions(mask, len(keep)).tolist() == expected
        with pytest.raises(IndexError, match=f"boolean mask of {len(keep)} does not fit {len(keep) + 1} regions"):
            positions(mask, len(keep) + 1)


def test_numbers_of_every_kind() -> None:
    for one in (2, np.int64(2), np.uint8(2), torch.tensor(2), np.array(2), -1, range(2, 3)):
        assert positions(one, 3).tolist() == [2]


@pytest.mark.parametrize(
    "index",
    ["0", None, 1.0, True, [0.5], [[0, 1]], [[0], [0, 1]], {0}, ..., torch.tensor(1.0), np.array(["0"]), 2**70, b"0"],
    ids=repr,
)
def test_everything_else_is_one_sentence(index: Any) -> None:
    with pytest.raises(TypeError, match="Regions are picked by an int, a slice") as caught:
        positions(index, 3)
    assert "\n" not in str(caught.value)
