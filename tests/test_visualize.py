"""Colours of words, overlays and the heat map, looked at through their pixels."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from miniatures.scenes import GROUNDS, PARTS, THINGS
from textregion import visualize

WORDS = ["sky", "grass", "house", "red car", "собака", "tree", "water", "sand", "person", "boat"]


def lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]


@given(st.permutations(WORDS))
def test_colours_do_not_depend_on_the_order_of_the_words(order: list[str]) -> None:
    usual = dict(zip(WORDS, visualize.word_colours(WORDS).tolist()))
    assert dict(zip(order, visualize.word_colours(order).tolist())) == usual


def test_words_keep_their_colour_in_any_company() -> None:
    words = [*GROUNDS, *THINGS, *PARTS]
    alone = np.concatenate([visualize.word_colours([word]) for word in words])
    np.testing.assert_array_equal(visualize.word_colours(words), alone)
    # In a long list of any words, few near-collisions are resolved.
    words = [f"word {number}" for number in range(20)]
    alone = np.concatenate([visualize.word_colours([word]) for word in words])
    assert np.all(visualize.word_colours(words) == alone, axis=1).sum() >= 15


def test_words_that_would_look_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualize, "_hashed_colour", lambda word, attempt: np.array([90, 9 * attempt, 90], np.uint8))
    first, second = visualize.word_colours(["zebra", "ant"]).tolist()
    assert second == [90, 0, 90]  # the first in the alphabet keeps its own
    assert first != second


@given(st.lists(st.text(min_size=1), min_size=2, max_size=12, unique=True))
def test_colours_of_one_picture_can_be_told_apart(words: list[str]) -> None:
    colours = lab(visualize.word_colours(words))
    distances = np.linalg.norm(colours[:, None] - colours, axis=2) + 1e3 * np.eye(len(words))
    assert distances.min() > 7


def test_many_words_have_colours_of_their_own_at_once() -> None:
    colours = visualize.word_colours([f"word {number}" for number in range(2000)])
    assert len(np.unique(colours, axis=0)) == 2000


def test_256_words_have_256_colours() -> None:
    colours = visualize.word_colours([f"word {number}" for number in range(256)])
    assert len(np.unique(colours, axis=0)) == 256
    assert visualize.word_colours([]).shape == (0, 3)
    same = visualize.word_colours(["dog", "cat", "dog"])
    assert (same[0] == same[2]).all()


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture whose left half is word 3 and right half word 1."""
    labels = np.full((height, width), 3)
    labels[:, width // 2 :] = 1
    return np.full((height, width, 3), 100, np.uint8), labels


def test_overlay_tints_the_picture_and_lists_what_occurs() -> None:
    image, labels = scene(400, 600)
    before = image.copy()
    colours = visualize.word_colours(WORDS)
    shown = visualize.overlay(image, torch.from_numpy(labels), WORDS)
    pixels = np.asarray(shown)
    assert shown.mode == "RGB"
    assert shown.width == 600
    assert shown.height > 400  # the legend lies below
    for column, word in ((20, 3), (580, 1)):
        assert np.ptp(pixels[:400, column], axis=0).max() == 0
        hue, own = (lab(np.array([colour]))[0, 1:] for colour in (pixels[200, column], colours[word]))
        assert hue @ own > 0.95 * np.linalg.norm(hue) * np.linalg.norm(own)
    assert (pixels[20, 299] == colours[3]).all() and (pixels[20, 300] == colours[1]).all()  # their borders
    legend = pixels[400:].reshape(-1, 3)
    for word in range(len(WORDS)):
        assert bool(np.all(legend == colours[word], axis=1).any()) == (word in (1, 3))
    assert (image == before).all()


@pytest.mark.parametrize("size_hw", [(300, 420), (700, 200)])
def test_names_stand_in_the_middle_of_their_regions(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = scene(*size_hw)
    named = np.asarray(visualize.overlay(image, labels, WORDS)).astype(int)
    monkeypatch.setattr(visualize.legend, "draw_names", lambda *args: None)
    changed = (named != np.asarray(visualize.overlay(image, labels, WORDS))).any(2)
    assert not changed[size_hw[0] :].any()  # the legend is left alone
    for left in (0, size_hw[1] // 2):
        rows, cols = np.nonzero(changed[:, left : left + size_hw[1] // 2])
        assert abs((rows.min() + rows.max()) / 2 - size_hw[0] / 2) < size_hw[0] / 4
        assert abs((cols.min() + cols.max()) / 2 - size_hw[1] / 4) < 4
        assert (named[: size_hw[0], left : left + size_hw[1] // 2][rows, cols].sum(1) == 3 * 255).any()  # white letters


def test_pixels_without_a_word_stay_as_they_are() -> None:
    image, labels = scene(400, 600)
    for value in (-1, len(WORDS), 255):
        labels[50:150, 50:150] = value
        pixels = np.asarray(visualize.overlay(image, labels, WORDS, blank_name="nothing"))
        assert (pixels[50:150, 50:150] == 100).all()
        assert (pixels[200, 100] != 100).any()
        np.testing.assert_array_equal(pixels, visualize.overlay(image, labels, WORDS, blank_name="nothing"))
    assert (np.asarray(visualize.overlay(image, labels, WORDS))[400:] != pixels[400:]).any()
    bare = np.asarray(visualize.overlay(image, np.full((400, 600), -1), []))
    np.testing.assert_array_equal(bare[:400], image)


def test_unsure_areas_are_striped_and_the_legend_says_so() -> None:
    image, labels = scene(400, 600)
    confidence = np.full((400, 600), 0.6)
    confidence[100:300, 50:250] = 0.45
    confidence[:, 298:302] = 0.1  # the seam of two regions is not an area
    plain, shown = (
        np.asarray(visualize.overlay(image, labels, WORDS, confidence=confidence, unsure_below=below))
        for below in (0.05, 0.5)
    )
    assert len(shown) > len(plain) or (shown[400:] != plain[400:]).any()
    changed = (shown[:400] != plain[:400]).any(2)
    assert not changed[:, 260:].any() and not changed[:95].any()
    assert 0.35 < changed[110:140, 60:240].mean() < 0.65
    small = visualize.overlay(image, labels[::4, ::4], WORDS, confidence=torch.from_numpy(confidence[::4, ::4]))
    assert (np.asarray(small)[110:140, 60:240] == shown[110:140, 60:240]).mean() > 0.98


def test_labels_of_another_size_are_brought_to_the_pictures() -> None:
    image, labels = scene(400, 600)
    small = visualize.overlay(image, labels[::4, ::4], WORDS)
    np.testing.assert_array_equal(np.asarray(small), np.asarray(visualize.overlay(image, labels, WORDS)))


@pytest.mark.parametrize("size_hw", [(40, 40), (30, 24), (1, 500), (500, 1), (1, 1), (900, 4000), (2400, 300)])
def test_a_legend_is_legible_at_any_size(size_hw: tuple[int, int]) -> None:
    image, labels = scene(*size_hw)
    shown = visualize.overlay(image, labels, WORDS)
    height, width = (side * max(1, 320 // max(size_hw)) for side in size_hw)
    assert shown.width >= width
    dark = np.all(np.asarray(shown)[height:] < 90, axis=2)
    # Text of at least 14 pixels, and of at least 1.5 % of the longer side, but for strips.
    assert np.any(dark, axis=1).sum() >= max(10, min(0.015 * max(size_hw), 0.1 * min(size_hw)))
    assert dark.sum() > 30


def test_letters_of_an_endless_strip_stay_drawable() -> None:
    assert visualize.overlay(*scene(2, 50_000), WORDS).height < 500
    assert visualize.overlay(*scene(50_000, 2), WORDS).width < 500


def test_many_and_long_words_fit_on_the_legend() -> None:
    words = [f"word number {number}" for number in range(60)] + ["a very long expression " * 20, "x" * 500]
    for size_hw in ((300, 500), (500, 300)):
        labels = (np.arange(size_hw[0] * size_hw[1]) * len(words) // (size_hw[0] * size_hw[1])).reshape(size_hw)
        shown = visualize.overlay(np.zeros((*size_hw, 3), np.uint8), labels, words)
        assert max(shown.size) < 4000
        pixels = np.asarray(shown)
        assert (pixels[:, -1] == pixels[-1, -1]).all(1)[size_hw[0] :].all()  # nothing is cut off at the right edge


def test_heat_map_marks_the_threshold_and_the_dropped_patches() -> None:
    image, _ = scene(200, 300)
    locality = torch.full((4, 6), 0.3)
    locality[1, 2] = -0.2
    heat = visualize.locality_map(image, locality, 0.07)
    pixels = np.asarray(heat).astype(int)
    assert heat.mode == "RGB"
    assert min(heat.size) > 300
    red, blue = pixels[..., 0] - pixels[..., 2] > 30, pixels[..., 2] - pixels[..., 0] > 30
    assert red.sum() > 10 * blue.sum() > 0
    dark, light = (visualize.locality_map(image // 8 + level, locality, 0.07) for level in (0, 200))
    assert np.asarray(light).mean() > np.asarray(dark).mean() + 30  # greys are not stretched
    flat = visualize.locality_map(image[:1], torch.zeros(1, 3), 0.0)  # no spread at all, one row
    assert min(flat.size) > 100


def test_without_a_display_the_log_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "agg")
    with caplog.at_level(logging.WARNING):
        visualize.show(Image.new("RGB", (4, 4)), "cat")
    assert "no display to show cat" in caplog.text
