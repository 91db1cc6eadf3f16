"""Files of drawn examples: safe names, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.reason_seg import task as reason_seg
from eval.reason_seg.files import Query
from eval.shared import show
from textregion import UserError

PICTURE = Image.new("RGB", (4, 3), "red")


def test_names_are_made_safe(tmp_path: Path) -> None:
    show.save(PICTURE, tmp_path / "new", 'a/b "c"\n' + "x" * 300)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("a_b_c_xxx") and path.suffix == ".png" and len(path.name) < 100
    with Image.open(path) as picture:
        assert picture.size == (4, 3)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"/a\.png' cannot be written \(No space left on device\): free space"):
        show.save(PICTURE, tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


GREY = np.full((8, 640, 3), 100, np.uint8)
"""As large as a picture must be to stay as it is; lines are 2 pixels wide on it."""


def drawn(image: np.ndarray, *areas: show.Area, frames: Sequence[show.Frame] = (), lines: Any = ()) -> np.ndarray:
    return np.asarray(show.draw(image, areas, frames, lines))


def test_small_pictures_are_enlarged_in_whole_steps() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    large = drawn(picture)
    assert large.shape[1] == 214 * 3  # 640 / 3, rounded up
    np.testing.assert_array_equal(large[: 214 * 2 : 214, ::214], picture)
    np.testing.assert_array_equal(large[213, 213], picture[0, 0])
    assert drawn(GREY).shape[1] == 640
    assert drawn(np.zeros((320, 4, 3), np.uint8)).shape[1] == 8
    assert drawn(np.zeros((319, 4, 3), np.uint8)).shape[1] == 12


def test_an_area_is_half_its_colour_within_its_outline() -> None:
    mask = np.zeros((8, 640), bool)
    mask[:, 100:200] = True
    tall = np.full((300, 640, 3), 100, np.uint8)
    area = show.Area(np.repeat(mask[:1], 300, 0), (200, 0, 50))
    filled = drawn(tall, area)
    assert filled[150, 150].tolist() == [150, 50, 75]
    assert filled[150, 100].tolist() == filled[150, 199].tolist() == [200, 0, 50]
    assert filled[150, 90].tolist() == filled[150, 210].tolist() == [100, 100, 100]
    outline = drawn(tall, show.Area(area.mask, area.colour, filled=False))
    assert outline[150, 150].tolist() == [100, 100, 100]
    assert outline[150, 100].tolist() == [200, 0, 50]
    assert (tall == 100).all()


def test_a_box_is_framed_in_its_colour_on_paper() -> None:
    tall = np.full((300, 640, 3), 100, np.uint8)
    picture = drawn(
        tall, frames=[show.Frame((50.0, 60.0, 30.0, 40.0), (1, 2, 3)), show.Frame((9.0, 9.0, 0.0, 0.0), (7, 7, 7))]
    )
    for row, col in [(60, 65), (61, 65), (100, 65), (80, 50), (80, 51), (80, 80)]:
        assert picture[row, col].tolist() == [1, 2, 3]
    for row, col in [(62, 65), (80, 53), (97, 65)]:
        assert picture[row, col].tolist() == [255, 255, 255]
    assert picture[80, 65].tolist() == picture[57, 65].tolist() == [100, 100, 100]
    assert picture[9, 9].tolist() == [7, 7, 7]
    small = drawn(np.full((150, 320, 3), 100, np.uint8), frames=[show.Frame((25.0, 30.0, 15.0, 20.0), (1, 2, 3))])
    np.testing.assert_array_equal(small[55:105, 45:85], picture[55:105, 45:85])  # boxes grow with their picture


def test_lines_stand_below_with_a_swatch_of_their_colour() -> None:
    lines = [("first", None), ("second", (10, 200, 30)), ("word " * 60, (200, 10, 30)), ("last", None)]
    picture = drawn(GREY, lines=lines)
    size = 15  # of letters: 640 / 42
    below = picture[8:]
    rows = (len(below) - size) / (1.4 * size)
    assert rows == pytest.approx(round(rows), abs=0.05)
    count = round(rows)
    assert count > 4  # the third line takes several
    for number in range(count):
        top = round(1.4 * size * number) + size // 2
        swatch, text = below[top : top + size, : 2 * size - 2], below[top : top + size, 2 * size :]
        colour = {1: [10, 200, 30], 2: [200, 10, 30]}.get(number, [255, 255, 255])
        assert swatch[size // 2, size].tolist() == colour
        assert below[top + size // 2, 2].tolist() == [255, 255, 255]
        assert text.min() < 60, number
        assert (text[:, -size:] == 255).all()
    assert (drawn(GREY) == np.concatenate([GREY, np.full((15, 640, 3), 255, np.uint8)])).all()


def test_names_that_differ_in_what_is_left_out_stay_apart(tmp_path: Path) -> None:
    show.save(PICTURE, tmp_path, "plain-name_1.2+3")
    show.save(PICTURE, tmp_path, "x" * 146)
    show.save(PICTURE, tmp_path, "x" * 151)
    show.save(PICTURE, tmp_path, "x" * 152)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "plain-name_1.2+3.png"
    assert len(names) == 4
    assert sorted(map(len, names[1:])) == [73, 73, 150]


def test_a_question_is_drawn_with_its_answer_filled_and_what_is_right_outlined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(show, "draw", lambda *what: seen.extend(what) or PICTURE)
    found, truth = np.eye(3, dtype=bool), np.array([[0, 1, 255]] * 3, np.uint8)
    query = Query("name", "Which?", False, ("background", "kite"), ())
    reason_seg._show(tmp_path, GREY, query, found, truth, 0.256)
    image, areas, frames, lines = seen
    assert image is GREY and frames == []
    assert [(area.colour, area.filled) for area in areas] == [
        (show.REGION, True),
        (show.IGNORED, False),
        (show.RIGHT, False),
    ]
    for area, expected in zip(areas, (found, truth == 255, truth == 1)):
        np.testing.assert_array_equal(area.mask, expected)
    assert lines[0] == ("“Which?”  IoU 0.26", None)
    assert [colour for _, colour in lines[1:]] == [show.REGION, show.RIGHT, show.IGNORED]
    assert "kite" in lines[1][0]
    assert [path.name for path in tmp_path.iterdir()] == ["name.png"]


@pytest.mark.parametrize(("width", "expected"), [(640, 2), (749, 2), (751, 3)])
def test_outlines_are_a_three_hundredth_of_the_picture(width: int, expected: int) -> None:
    picture = drawn(np.zeros((60, width, 3), np.uint8), frames=[show.Frame((20.0, 20.0, 30.0, 30.0), (9, 8, 7))])
    assert (picture[35, 18:40] == (9, 8, 7)).all(1).sum() == expected
