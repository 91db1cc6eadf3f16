"""What can be known of the page without a browser: contrasts of its colours, labels of its controls."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import pytest

STATIC = resources.files("textregion.web") / "static"
STYLE = (STATIC / "style.css").read_text()
PAGE = (STATIC / "index.html").read_text()
PAIRS = [
    ("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("on-accent", "accent"),
    ("on-error", "error"), ("ink", "faint"),
]  # fmt: skip
"""Letters and what they stand on."""
SHAPES = [("accent", "paper"), ("accent", "card"), ("line", "paper"), ("line", "card"), ("bar", "paper")]
"""Borders, outlines and bars, of which 3 : 1 is asked."""


def colours(scheme: str) -> dict[str, str]:
    """Name to #rrggbb of a scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_and_shapes_stand_out(scheme: str) -> None:
    found = colours(scheme)
    assert {
        pair: round(contrast(found[pair[0]], found[pair[1]]), 2)
        for pair in PAIRS
        if contrast(found[pair[0]], found[pair[1]]) < 4.5
    } == {}
    assert {
        pair: round(contrast(found[pair[0]], found[pair[1]]), 2)
        for pair in SHAPES
        if contrast(found[pair[0]], found[pair[1]]) < 3
    } == {}


def test_both_schemes_have_every_colour_and_no_colour_is_written_elsewhere() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert re.findall(r"--[a-z-]+", light) == re.findall(r"--[a-z-]+", dark)
    rules = STYLE.split("* { box-sizing", 1)[1]
    letters = re.findall(r"(?<![-a-z])color: ([^;]+);", rules)
    assert letters and all(value.startswith("var(--") for value in letters)
    assert set(re.findall(r"(?<![-a-z])background: ([^;]+);", rules)) <= {
        f"var(--{name})" for pair in PAIRS for name in pair
    }


class Controls(HTMLParser):
    """Ids of the controls, and what labels them."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.controls: list[dict[str, str]] = []
        self.labelled: set[str] = set()
        self.open: list[str] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in pairs}
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "label" and "for" in attributes:
            self.labelled.add(attributes["for"])
        if tag in ("input", "progress", "select", "textarea"):
            within = "label" in self.open
            self.controls.append({**attributes, "labelled": "yes" if within else ""})
        if tag not in ("input", "img", "meta", "link", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass


def test_every_control_has_a_label_and_every_id_is_there_once() -> None:
    page = Controls()
    page.feed(PAGE)
    bare = [one for one in page.controls if not one["labelled"] and one.get("id") not in page.labelled]
    assert len(page.controls) >= 9 and bare == []
    assert len(page.ids) == len(set(page.ids))
    assert '<html lang="en">' in PAGE and 'name="viewport"' in PAGE
    named = re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', PAGE)
    assert set(named) <= set(page.ids)


def test_every_id_that_the_module_asks_for_is_on_the_page() -> None:
    module = (STATIC / "app.js").read_text()
    page = Controls()
    page.feed(PAGE)
    assert set(re.findall(r"\$\('([a-z-]+)'\)", module)) <= set(page.ids)
