"""Names on regions and the legend below, looked at through their pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from textregion import fonts, legend, visualize


def light(rgb: tuple[int, ...]) -> float:
    """Relative luminance, as the guidelines for legible web pages define it."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_letters_stand_out_from_the_halo_of_any_colour(colour: tuple[int, int, int]) -> None:
    halo = legend.halo_colour(np.array(colour, np.uint8))
    assert (light(legend.PAPER) + 0.05) / (light(halo) + 0.05) > 7


@pytest.mark.parametrize(
    ("size_hw", "letters"),
    [((64, 64), 14), ((720, 960), 19), ((3000, 4000), 80), ((8000, 8000), 100), ((2, 50_000), 14), ((300, 2400), 30)],
)
def test_letters_grow_with_the_picture(size_hw: tuple[int, int], letters: int) -> None:
    assert legend.letter_size(size_hw) == letters


def test_shares_by_hand() -> None:
    assert [legend.share(part) for part in (1.0, 0.5, 0.0349, 0.001, 0.0009)] == [
        "100.0%", "50.0%", "3.5%", "0.1%", "<0.1%"
    ]  # fmt: skip


def entries(count: int, striped: bool = False) -> list[legend.Entry]:
    return [legend.Entry(f"word {number}", fonts.USUAL, "1.0%", (255, number, 0), striped) for number in range(count)]


def swatches(panel: Image.Image) -> np.ndarray:
    """(count, 2) top and left of every swatch, by entry."""
    pixels = np.asarray(panel)
    found = [np.argwhere((pixels == (255, number, 0)).all(2)) for number in range(60)]
    return np.array([places.min(0) for places in found if len(places)])


def test_columns_are_filled_from_the_left_and_as_many_as_the_width_takes() -> None:
    places = swatches(legend.panel(entries(13), (700, 900)))
    columns, in_column = np.unique(places[:, 1], return_counts=True)
    assert len(columns) > 3
    assert in_column[:-1].tolist() == [in_column[0]] * (len(columns) - 1)
    assert in_column[-1] <= in_column[0]
    assert np.lexsort((places[:, 0], places[:, 1])).tolist() == list(range(13))  # read downwards
    assert len(np.unique(swatches(legend.panel(entries(13), (700, 200)))[:, 1])) == 1


def test_many_words_are_written_smaller() -> None:
    few, many = (legend.panel(entries(count), (1200, 1800)) for count in (6, 60))
    assert many.height < 600
    step = [np.diff(np.unique(swatches(panel)[:, 0])).min() for panel in (few, many)]
    assert step[1] < step[0]
    assert legend.panel(entries(3), (500, 1)).height < 6 * legend.SMALLEST_LETTERS  # nor in columns of a letter
    assert legend.panel(entries(60), (20, 20)).height > 60 * legend.SMALLEST_LETTERS  # not smaller than legible


def test_a_striped_swatch_is_half_white() -> None:
    whole, striped = (np.asarray(legend.panel(entries(1, stripes), (300, 400))) for stripes in (False, True))
    inked = [(pixels == (255, 0, 0)).all(2).sum() for pixels in (whole, striped)]
    assert inked[1] == pytest.approx(inked[0] / 2, rel=0.2)


@pytest.mark.parametrize("word", ["שלום עולם", "\u202eabc", "dog"])
def test_the_share_stands_behind_the_word(word: str) -> None:
    entry, alone = (legend.Entry(text, fonts.USUAL, "100.0%", (0, 0, 0)) for text in (fonts.written(word, 0)[0], "i"))
    drawn, usual = (np.asarray(legend.panel([one], (400, 400))) for one in (entry, alone))
    dark, share = (np.flatnonzero((pixels < 90).all(2).any(0)) for pixels in (drawn, usual))
    width = share[-1] - share[share > 40][0]  # of "100.0%"
    assert dark[-1] > share[-1]
    ending = drawn[:, dark[-1] - width : dark[-1] + 1]
    np.testing.assert_array_equal(ending, usual[:, share[-1] - width : share[-1] + 1])


def drawn_by_names(index: np.ndarray, words: list[str]) -> np.ndarray:
    """(H, W, 3): a canvas that is larger than the picture by 40 pixels, on which only names are drawn."""
    canvas = Image.new("RGB", (index.shape[1] + 40, index.shape[0] + 40), (1, 2, 3))
    written = [fonts.written(word, number) for number, word in enumerate(words)]
    legend.draw_names(canvas, index, written, visualize.word_colours(words))
    return np.asarray(canvas)


WORDS = ["grass", "a wooden fence", "גדר", "سياج", "[dog face]", "pgjqy Å"]


@pytest.mark.parametrize("seed", range(6))
def test_a_name_stands_wholly_on_its_region(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.integers(0, (400, 600), (12, 2))
    rows, cols = np.mgrid[:400, :600]
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (cols[..., None] - points[:, 1]) ** 2).argmin(2)
    index = random.integers(0, len(WORDS) + 1, 12)[nearest].astype(np.uint8)
    pixels = drawn_by_names(index, WORDS)
    inked = (pixels != (1, 2, 3)).any(2)
    assert inked.sum() > 500
    assert not inked[400:].any() and not inked[:, 600:].any()
    assert (index[inked[:400, :600]] < len(WORDS)).all()  # none where no word is
    for word, text in enumerate(WORDS):
        alone = drawn_by_names(np.where(index == word, index, len(WORDS)).astype(np.uint8), WORDS)
        own = (alone != (1, 2, 3)).any(2)
        assert (index[own[:400, :600]] == word).all(), text
        np.testing.assert_array_equal(pixels[own], alone[own])  # the other names leave it alone


@pytest.mark.parametrize("text", WORDS)
def test_a_name_that_just_fits_covers_its_region_and_no_more(text: str) -> None:
    size = legend.letter_size((400, 600))
    form = legend._forms(*fonts.written(text, 0), size, ImageDraw.Draw(Image.new("RGB", (1, 1))))[0]
    width, height = form.size_wh
    index = np.full((400, 600), 1, np.uint8)
    index[100 : 102 + height, 200 : 202 + width] = 0  # the outermost pixels are the border
    rows, cols = np.nonzero((drawn_by_names(index, [text]) != (1, 2, 3)).any(2))
    assert 101 <= rows.min() <= 102 and 99 + height <= rows.max() <= 100 + height
    assert 201 <= cols.min() <= 202 and 199 + width <= cols.max() <= 200 + width


def test_a_name_too_long_for_a_line_takes_two_and_one_too_long_for_these_none() -> None:
    index = np.full((120, 700), 1, np.uint8)
    index[:, 300:400] = 0
    one, two, none = (
        (drawn_by_names(index, [text])[:120] != (1, 2, 3)).any(2) for text in ("oo", "oooooo oooooo", "o" * 20)
    )
    heights = [int(inked.any(1).sum()) for inked in (one, two, none)]
    assert heights[1] > 1.8 * heights[0] > 0 == heights[2]
    middle = np.argwhere(one).mean(0)
    assert np.abs(middle - (60, 350)).max() < 3
