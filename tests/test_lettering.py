"""Words as a legend shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features

from textregion import lettering


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
