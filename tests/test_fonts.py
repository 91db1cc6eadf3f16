"""Which font a word is written in, and what stands for one that no font has."""

from __future__ import annotations

import logging

import pytest

from textregion import fonts


def test_a_word_without_a_font_goes_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "textregion.fonts"):
        assert fonts.written("\U000f1234", 4)[0] == "word 4"  # a letter that no font can have
        assert "'word 4'" in caplog.text
        caplog.clear()
        assert fonts.written("שלום dog", 0)[0] == "שלום dog"
        assert fonts.written("🐶 \U000f1234", 1)[0] == "word 1"
    assert fonts.written("\x07", 2)[0] == "word 2"


def test_another_font_of_the_machine_serves_where_the_usual_one_has_not_the_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters = {fonts.USUAL: "dog ", "broken.ttf": "", "han.ttf": "dog 名前"}
    entries = [type("Font", (), {"fname": name, "name": name, "style": "normal", "weight": 400}) for name in letters]
    monkeypatch.setattr(fonts.fontManager, "ttflist", entries)
    monkeypatch.setattr(fonts, "has_letters", lambda font, text: set(text) <= set(letters[font]))
    fonts._font_with.cache_clear()
    try:
        assert fonts.written("名前", 0) == ("名前", "han.ttf")
        assert fonts.written("dog", 0) == ("dog", fonts.USUAL)
    finally:
        fonts._font_with.cache_clear()


def test_a_missing_font_has_no_letters() -> None:
    assert fonts.has_letters(fonts.USUAL, "dog")
    assert not fonts.has_letters("/nowhere.ttf", "dog")
