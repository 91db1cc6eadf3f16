"""Colours over a picture, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from textregion import tint
from textregion.tint import Style

RED, GREEN = (200, 30, 40), (60, 160, 80)
COLOURS = np.array([RED, GREEN], np.uint8)


def picture(height: int, width: int) -> np.ndarray:
    """Grey from black at the left to white at the right."""
    row = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2)


def drawn(
    image: np.ndarray, index: np.ndarray, style: Style = "both", opacity: float = 1.0, **given: np.ndarray
) -> np.ndarray:
    bands = list(tint.coloured(image, index.astype(np.uint8), COLOURS, style=style, opacity=opacity, **given))
    assert [top for top, _ in bands] == np.cumsum([0, *(len(rows) for _, rows in bands)])[:-1].tolist()
    return np.concatenate([rows for _, rows in bands])


def lab(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab))


def halves(height: int, width: int) -> np.ndarray:
    """Word 0 above word 1."""
    return np.repeat(np.arange(height) >= height // 2, width).reshape(height, width).astype(np.uint8)


def test_a_tint_has_the_words_hue_and_the_pictures_light() -> None:
    image = picture(60, 256)
    seen, was = lab(drawn(image, halves(60, 256), "fill")), lab(image)
    for row, colour in ((10, RED), (50, GREEN)):
        own = lab(np.array([[colour]], np.uint8))[0, 0]
        middle = slice(85, 115)  # darker and lighter there is no such red
        np.testing.assert_allclose(seen[row, middle, 0], 0.5 * was[row, middle, 0] + 0.5 * own[0], atol=1.5)
        hue = np.arctan2(seen[row, middle, 2], seen[row, middle, 1])
        np.testing.assert_allclose(hue, np.arctan2(own[2], own[1]), atol=0.12)
        assert (np.diff(seen[row, ::8, 0]) >= 0).all()  # what was lighter is lighter
        assert seen[row, -1, 0] - seen[row, 0, 0] > 35  # and the picture still shows


def test_opacity_goes_from_the_picture_to_the_tint() -> None:
    image, index = picture(40, 256), halves(40, 256)
    np.testing.assert_array_equal(drawn(image, index, "fill", 0.0), image)
    half = (image.astype(float) + drawn(image, index, "fill", 1.0)) / 2
    np.testing.assert_allclose(drawn(image, index, "fill", 0.5), half, atol=1)


@pytest.mark.parametrize(("side", "thin", "alone"), [(60, 1, 2), (1200, 3, 6)])
def test_borders_lie_inside_each_region(side: int, thin: int, alone: int) -> None:
    image, index = np.full((side, side, 3), 100, np.uint8), halves(side, side)
    for style, width in (("both", thin), ("outline", alone)):
        seen = drawn(image, index, style, 0.0)
        changed = (seen != 100).any(2)
        assert np.flatnonzero(changed.all(1)).tolist() == list(range(side // 2 - width, side // 2 + width))
        assert not changed[: side // 2 - width].any() and not changed[side // 2 + width :].any()
        assert (seen[side // 2 - 1] == RED).all() and (seen[side // 2] == GREEN).all()
    assert (drawn(image, index, "fill", 0.0) == image).all()


def test_pixels_without_a_word_stay_as_they_are_but_border_on_others() -> None:
    image, index = picture(60, 200), halves(60, 200)
    index[20:40, 50:100] = 2
    for style in tint.STYLES:
        seen = drawn(image, index, style, unsure=np.ones_like(index))
        np.testing.assert_array_equal(seen[20:40, 50:100], image[20:40, 50:100])
    assert (drawn(image, index, "outline")[19, 50:100] == RED).all()


@pytest.mark.parametrize("style", tint.STYLES)
def test_unsure_areas_are_half_tinted(style: Style) -> None:
    image, index = picture(200, 200), np.zeros((200, 200), np.uint8)
    unsure = np.zeros((200, 200), np.uint8)
    unsure[40:160, 40:160] = 1
    sure, seen = drawn(image, index, style), drawn(image, index, style, unsure=unsure)
    np.testing.assert_array_equal(seen[unsure == 0], sure[unsure == 0])
    filled = drawn(image, index, "fill")
    tinted, bare = ((seen == other).all(2)[40:160, 40:160] for other in (filled, image))
    assert (tinted | bare).all()
    assert 0.4 < tinted.mean() < 0.6
    assert tinted[0, 10] == tinted[5, 5] == tinted[10, 0]  # stripes run down to the left


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (97, 50, 3), dtype=np.uint8)
    index = random.integers(0, 3, (20, 10)).repeat(5, 0).repeat(5, 1)[:97]
    unsure = (random.random((97, 50)) > 0.5).astype(np.uint8)
    whole = [drawn(image, index, style, 0.6, unsure=unsure) for style in tint.STYLES]
    monkeypatch.setattr(tint, "BAND_PIXELS", 350)
    assert len(list(tint.coloured(image, index.astype(np.uint8), COLOURS, style="both", opacity=0.6))) == 14
    for style, expected in zip(tint.STYLES, whole):
        np.testing.assert_array_equal(drawn(image, index, style, 0.6, unsure=unsure), expected)
