"""Words as a legend shows them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features

from textregion import lettering, visualize


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\n lines\t", "two lines"),
        ("a\x00b\x07\x1b[31m", "ab[31m"),
        ("\u202eabc\u202c", "abc"),
        ("\u200b", ""),
        ("\ud800x", "x"),
        ("é" + "\u0301" * 50, "é" + "\u0301" * lettering.MOST_MARKS),
        ("❤\ufe0f", "❤"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # letters that do not join without changing the word
    ],
)
def test_what_cannot_be_seen_is_left_out(text: str, shown: str) -> None:
    assert lettering.visible(text) == shown


def test_symbols_are_spelled_where_they_cannot_be_drawn() -> None:
    def never(symbol: str) -> bool:
        return False

    assert lettering.spell_symbols("🐶 dog", never) == "[dog face] dog"
    assert lettering.spell_symbols("👩🏽\u200d👧", never) == "[woman][girl]"
    assert lettering.spell_symbols("🐶 dog", lambda symbol: True) == "🐶 dog"
    assert lettering.spell_symbols("名前 42", never) == "名前 42"


@given(st.text("ab é\u0301名", max_size=60), st.integers(1, 20), st.integers(1, 4))
def test_lines_keep_to_their_room_and_number(text: str, room: int, most: int) -> None:
    text = " ".join(text.split())
    lines = lettering.wrap(text, len, room, most)
    assert 1 <= len(lines) <= most
    marks = text.count("\u0301")  # they stay with their letter, wherever it stands
    assert all(len(line) <= room + marks for line in lines)
    if not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if not any(piece.startswith("\u0301") for piece in text.split()):
        assert not any(line.startswith("\u0301") for line in lines)


def test_lines_break_between_words_and_end_in_an_ellipsis() -> None:
    assert lettering.wrap("a red truck", len, 5, 3) == ["a red", "truck"]
    assert lettering.wrap("incomprehensible", len, 6, 3) == ["incomp", "rehens", "ible"]
    assert lettering.wrap("incomprehensible", len, 6, 2) == ["incomp", "rehen…"]
    assert lettering.wrap("", len, 6, 2) == [""]


def test_without_raqm_words_are_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check_feature", lambda name: False)
    assert lettering.as_drawn("שלום עולם") == "שלום עולם"[::-1]
    assert lettering.as_drawn("a dog שלום 42") == "a dog םולש 42"
    monkeypatch.setattr(features, "check_feature", lambda name: True)
    assert lettering.as_drawn("שלום") == "שלום"


def test_a_word_without_a_font_goes_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "textregion.visualize"):
        assert visualize._written("\U000f1234", 4)[0] == "word 4"  # a letter that no font can have
        assert "'word 4'" in caplog.text
        caplog.clear()
        assert visualize._written("שלום dog", 0)[0] == "שלום dog"
        assert visualize._written("🐶 \U000f1234", 1)[0] == "word 1"
    assert visualize._written("\x07", 2)[0] == "word 2"


def test_another_font_of_the_machine_serves_where_the_usual_one_has_not_the_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fonts = {visualize._FONT: "dog ", "broken.ttf": "", "han.ttf": "dog 名前"}
    entries = [type("Font", (), {"fname": name, "name": name, "style": "normal", "weight": 400}) for name in fonts]
    monkeypatch.setattr(visualize.fontManager, "ttflist", entries)
    monkeypatch.setattr(visualize, "_has_letters", lambda font, text: set(text) <= set(fonts[font]))
    visualize._font_with.cache_clear()
    try:
        assert visualize._written("名前", 0) == ("名前", "han.ttf")
        assert visualize._written("dog", 0) == ("dog", visualize._FONT)
    finally:
        visualize._font_with.cache_clear()


def test_a_missing_font_has_no_letters() -> None:
    assert visualize._has_letters(visualize._FONT, "dog")
    assert not visualize._has_letters("/nowhere.ttf", "dog")


@pytest.mark.parametrize("word", ["שלום עולם", "\u202eabc", "dog"])
def test_the_share_stands_behind_the_word(word: str) -> None:
    labels = np.zeros((400, 400), int)
    legend = np.asarray(visualize.overlay(np.zeros((400, 400, 3), np.uint8), labels, [word]))[400:]
    alone = np.asarray(visualize.overlay(np.zeros((400, 400, 3), np.uint8), labels, ["i"]))[400:]
    dark, share = np.flatnonzero((legend < 90).all(2).any(0)), np.flatnonzero((alone < 90).all(2).any(0))
    width = share[-1] - share[share > 40][0]  # of "100.0%"
    assert dark[-1] > share[-1]
    ending = legend[:, dark[-1] - width : dark[-1] + 1]
    np.testing.assert_array_equal(ending, alone[:, share[-1] - width : share[-1] + 1])
