"""Where names stand, on maps small enough to see it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textregion.placing import SIDE, Place, place_names

SMALL = [(9, 5)]


def field(height: int, width: int) -> np.ndarray:
    """A map on which no word is."""
    return np.full((height, width), 9)


def test_the_middle_of_a_square_is_its_most_inner_point() -> None:
    index = field(60, 90)
    index[10:41, 20:51] = 1
    assert place_names(index, [[], SMALL]) == [Place(1, 0, (35, 25))]


def test_a_name_goes_where_its_region_is_widest() -> None:
    index = field(60, 120)
    index[20:30, 5:115] = 0  # a bar, and a block on its end
    index[8:48, 75:115] = 0
    ((x, y),) = (place.centre_xy for place in place_names(index, [SMALL]))
    assert abs(x - 94) <= 1 and abs(y - 27) <= 1
    # A name that is too long for the block goes along the bar, as deep in the block as it can.
    ((x, y),) = (place.centre_xy for place in place_names(index, [[(70, 6)]]))
    assert x - 35 > 5 and x + 35 < 115 and abs(y - 25) <= 2


def test_the_first_form_that_fits_is_taken() -> None:
    index = field(60, 90)
    index[10:41, 20:51] = 0
    forms = [(31, 5), (5, 31), (29, 5), (3, 3)]  # of 31 pixels, the outermost are the border
    assert [place.form for place in place_names(index, [forms])] == [2]
    assert place_names(index, [forms[:2]]) == []
    assert place_names(index, [[]]) == []


@pytest.mark.parametrize("height", range(20, 33))
def test_on_a_large_map_a_tight_name_still_lies_inside(height: int) -> None:
    placed = 0
    for top in range(40, 48):
        index = field(120, 3 * SIDE)
        index[top : top + height, 100:900] = 0
        for place in place_names(index, [[(90, height - 8), (91, height - 12)]]):
            (_, y), tall = place.centre_xy, (height - 8, height - 12)[place.form]
            assert top <= y - tall // 2 and y - tall // 2 + tall <= top + height
            placed += 1
    assert placed


def test_pieces_of_one_thing_have_one_name_unless_apart() -> None:
    index = field(200, 400)
    index[50:150, 100:160] = 0
    index[60:140, 165:220] = 0  # a pole's width away
    assert [place.centre_xy[0] // 60 for place in place_names(index, [SMALL])] == [2]  # on the larger
    index[60:140, 300:355] = 0
    places = place_names(index, [SMALL])
    assert len(places) == 2
    assert sorted(place.centre_xy[0] > 300 for place in places) == [False, True]
    index[90:110, 215:305:12] = 0  # specks between them, on which no name fits, join nothing
    assert len(place_names(index, [SMALL])) == 2


def test_where_the_name_does_not_fit_on_the_largest_piece_it_stands_on_another() -> None:
    index = field(200, 200)
    index[10:14, :] = 0
    index[16:56, 50:90] = 0
    (place,) = place_names(index, [[(30, 20)]])
    assert 16 < place.centre_xy[1] < 56


@pytest.mark.parametrize(
    "index",
    [np.zeros((1, 1), int), np.zeros((1, 500), int), np.zeros((2, 50_000), int), np.zeros((3, 3), int), field(5, 5)],
)
def test_maps_without_room_have_no_names(index: np.ndarray) -> None:
    assert place_names(index, [SMALL]) == []


@given(st.integers(0, 2**32), st.sampled_from([(70, 110), (2 * SIDE + 30, 150), (40, 3 * SIDE)]))
def test_a_name_lies_wholly_on_its_word(seed: int, size_hw: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(-1, 4, (7, 11))
    index = coarse[np.arange(size_hw[0]) * 7 // size_hw[0]][:, np.arange(size_hw[1]) * 11 // size_hw[1]]
    scale = min(size_hw) / 70
    sizes = [[(round(w * scale), round(h * scale)) for w, h in random.integers(3, 40, (3, 2))] for _ in range(4)]
    taken = np.zeros(size_hw, bool)
    places = place_names(index, sizes)
    for place in places:
        (x, y), (width, height) = place.centre_xy, sizes[place.word][place.form]
        box = slice(y - height // 2, y - height // 2 + height), slice(x - width // 2, x - width // 2 + width)
        assert index[box].shape == (height, width)
        assert (index[box] == place.word).all()
        assert not taken[box].any()
        taken[box] = True
    # Other numbers for the words change nothing.
    order = random.permutation(4)
    turned = place_names(np.where(index < 0, -1, np.argsort(order)[index]), [sizes[word] for word in order])
    key = [(place.centre_xy, place.form) for place in places]
    assert sorted(key) == sorted((place.centre_xy, place.form) for place in turned)
