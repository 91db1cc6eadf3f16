"""Numbers of more than 8 bits come out as what they show, in whatever range they lie."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from textregion.image import load_rgb
from textregion.pictures.depth import found_range, to_eight_bits

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 4095, 2048, 16], np.uint16, [0, 255, 128, 1]),  # 12 bits in 16
        ([0, 1023, 512], np.uint16, [0, 255, 128]),
        ([0, 16383, 8192], np.int32, [0, 255, 128]),
        ([0, 65535, 32768, 257], np.uint16, [0, 255, 128, 1]),
        ([0, 255, 7], np.uint16, [0, 255, 7]),
        ([3, 40, 7], np.int32, [3, 40, 7]),  # a dark picture of 8 bits stays dark
        ([0, 4191, 4095, 2048], np.uint16, [0, 255, 255, 128]),  # lossy compression goes beyond white
        ([0, 32767, 16384], np.int16, [0, 255, 128]),
        ([0, 2**32 - 1, 2**31], np.uint32, [0, 255, 128]),
        ([0, 2**31 - 1, 2**30], np.int32, [0, 255, 128]),
        ([0, 100_000, 50_000], np.uint32, [0, 255, 128]),  # no usual range
        ([-1000, 3000, 1000], np.int16, [0, 255, 128]),
        ([-128, 127, 0], np.int8, [0, 255, 128]),
        ([0.0, 1.0, 0.5, 0.25], np.float32, [0, 255, 128, 64]),
        ([0.0, 0.25, 0.125], np.float32, [0, 64, 32]),
        ([-0.02, 1.03, 0.5], np.float32, [0, 255, 128]),  # resizing goes beyond both ends
        ([0.0, 255.0, 128.0], np.float64, [0, 255, 128]),
        ([0.0, 200.0, 100.5], np.float32, [0, 200, 101]),
        ([0.0, 4095.0, 1000.0], np.float32, [0, 255, 62]),
        ([0.0, 1.5, 0.75], np.float32, [0, 255, 128]),
        ([-1.0, 1.0, 0.0], np.float32, [0, 255, 128]),
        ([NAN, INF, -INF, 0.5, 1.0], np.float32, [0, 255, 0, 128, 255]),
        ([NAN, 4095.0, 2048.0], np.float16, [0, 255, 128]),
        ([NAN, NAN], np.float32, [0, 0]),
        ([-5.0, -5.0], np.float64, [0, 0]),
        ([0, 0], np.uint16, [0, 0]),
        ([1e30, 5e29], np.float32, [255, 128]),
    ],
    ids=str,
)
def test_by_the_range_that_is_found(values: list[Any], dtype: type, expected: list[int]) -> None:
    assert to_eight_bits(np.array(values, dtype), "Picture 'x'").tolist() == expected


@given(st.sampled_from([10, 12, 14, 16]), st.integers(0, 2**32 - 1))
def test_a_picture_is_the_same_in_every_depth(bits: int, seed: int) -> None:
    eight = np.random.default_rng(seed).integers(0, 256, (6, 7), np.uint16)
    eight[0, 0] = 255
    white = 2**bits - 1
    deep = np.round(eight / 255 * white).astype(np.uint16)
    np.testing.assert_allclose(to_eight_bits(deep, "x"), eight, atol=1)


def test_a_stated_range_goes_before_the_found_one_unless_numbers_lie_beyond_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dark = np.array([0, 200, 1000], np.uint16)
    with caplog.at_level(logging.INFO):
        assert to_eight_bits(dark, "Picture 'x'", (0, 4095)).tolist() == [0, 12, 62]
    assert caplog.messages == ["Picture 'x' states that its values go from 0 to 4095: it is scaled by that."]
    assert to_eight_bits(dark, "x", (100, 1000)).tolist() == to_eight_bits(dark, "x").tolist() == [0, 50, 249]
    assert to_eight_bits(dark, "x", (0, 500)).tolist() == [0, 50, 249]
    assert to_eight_bits(np.array([0, 100], np.uint8), "x", (0, 200)).tolist() == [0, 128]


def test_the_log_says_what_was_taken_as_white(caplog: pytest.LogCaptureFixture) -> None:
    to_eight_bits(np.array([64, 3920], np.uint16), "Picture 'x'")
    assert caplog.messages == [
        "Picture 'x' holds values from 64 to 3920 (uint16): 0 is taken as black and 4095 as white."
    ]
    caplog.clear()
    for plain in (np.array([0, 65535], np.uint16), np.array([0.0, 0.5]), np.array([7, 8], np.uint8)):
        to_eight_bits(plain, "Picture 'x'")
    assert not caplog.messages


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.sampled_from(["<f4", "<u2", "<i4", "<i2"]))
def test_the_found_range_holds_all_but_overshoot(least: float, spread: float, kind: str) -> None:
    black, white = found_range(least, least + spread, np.dtype(kind))
    assert black <= max(least, 0)
    assert least + spread <= white * (17 / 16) or white == least + spread
    # what lies below black is little beside what lies above
    assert black == least or least >= -0.1 * abs(least + spread)


def test_pictures_in_memory_are_scaled_too() -> None:
    grey = Image.fromarray(np.array([[0, 2048, 4095]], np.uint16))
    assert load_rgb(grey)[0, :, 1].tolist() == [0, 128, 255]
    assert load_rgb(Image.fromarray(np.array([[0, 1.5]], np.float32)))[0, :, 2].tolist() == [0, 255]
