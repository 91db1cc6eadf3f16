"""Arrays and tensors become pictures, whichever way round they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textregion import UserError
from textregion.image import load_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = np.repeat(PIXELS[..., :1], 3, 2)
CLEAR = np.dstack([PIXELS, np.zeros((5, 7), np.uint8)])
TENSOR = torch.from_numpy(PIXELS)

SAME: dict[str, tuple[Any, Any]] = {
    "(H, W, 3)": (PIXELS, PIXELS),
    "(H, W, 3) tensor": (TENSOR, PIXELS),
    "(3, H, W) tensor": (TENSOR.permute(2, 0, 1), PIXELS),
    "(3, H, W) array": (PIXELS.transpose(2, 0, 1), PIXELS),
    "(H, W)": (PIXELS[..., 0], GREY),
    "(H, W) tensor": (TENSOR[..., 0], GREY),
    "(H, W, 1)": (PIXELS[..., :1], GREY),
    "(1, H, W) tensor": (TENSOR[None, ..., 0], GREY),
    "(H, W, 4), all clear": (CLEAR, np.full_like(PIXELS, 255)),
    "(4, H, W) tensor, all clear": (torch.from_numpy(CLEAR).permute(2, 0, 1), np.full_like(PIXELS, 255)),
    "64-bit floats": (PIXELS / 255, PIXELS),
    "32-bit floats as ToTensor makes them": (TENSOR.permute(2, 0, 1).float().div(255), PIXELS),
    "the other byte order": ((PIXELS / 255).astype(">f4"), PIXELS),
    "with a gradient": ((TENSOR / 255).requires_grad_(), PIXELS),
    "rounded beyond 1": (np.float32(1.0004) * (PIXELS > 9), np.where(PIXELS > 9, 255, 0)),
    "mirrored": (PIXELS[:, ::-1], PIXELS[:, ::-1]),
    "an array of three rows and columns": (PIXELS[:3, :3], PIXELS[:3, :3]),
    "a tensor of three rows and columns": (TENSOR[:3, :3].permute(2, 0, 1), PIXELS[:3, :3]),
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_is_read(form: str) -> None:
    given_picture, expected = SAME[form]
    rgb = load_rgb(given_picture)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, expected)


@given(st.sampled_from(["float16", "bfloat16", "float32", "float64"]), st.integers(0, 255))
def test_floats_are_rounded_to_the_nearest_of_256(dtype: str, level: int) -> None:
    value = torch.tensor(level / 255, dtype=getattr(torch, dtype))
    expected = round(float(value) * 255)
    assert int(load_rgb(value.expand(3, 2, 2))[0, 0, 0]) == expected


REFUSED: dict[str, tuple[Any, str]] = {
    "16 bits": (PIXELS.astype(np.uint16), "uint8 .* but got ndarray of shape .* uint16: divide it"),
    "64-bit whole numbers": (TENSOR.long(), "int64"),
    "booleans": (PIXELS > 9, "bool"),
    "0..255 in floats": (PIXELS.astype(np.float32), "must lie in 0..1, but .* goes from"),
    "normalised": ((PIXELS / 255 - 0.45) / 0.22, "before they were normalised"),
    "NaN": (np.full((2, 2), np.nan), "nan"),
    "complex": (torch.ones(2, 2, dtype=torch.complex64), "complex64"),
    "sparse": (torch.ones(2, 2).to_sparse(), "plain uint8 or floats"),
    "two bands": (PIXELS[..., :2], r"shape \(5, 7, 2\)"),
    "five bands": (np.zeros((9, 9, 5), np.uint8), r"shape \(9, 9, 5\)"),
    "a row": (PIXELS[0, :, 0], r"shape \(7,\)"),
    "a number": (torch.tensor(1.0), r"shape \(\)"),
    "a batch": (TENSOR[None], "One picture is taken at a time"),
    "no pixels": (torch.zeros(3, 0, 4), r"shape \(3, 0, 4\)"),
    "objects": (np.array([[None]]), "object"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_one_sentence(kind: str) -> None:
    picture, said = REFUSED[kind]
    with pytest.raises(UserError, match=said) as caught:
        load_rgb(picture)
    assert "\n" not in str(caught.value)
