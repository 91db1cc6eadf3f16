"""The page in a real browser: what a person does, and what is seen."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.web.conftest import noise, png_of
from textregion import RegionIndex, RegionMasks, RegionTokens, TextRegionSegmenter
from textregion.image import RGB
from textregion.web import create_app
from textregion.web.server import address, listen, server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on the PATH")

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run"
)
HEIGHT, WIDTH = 300, 400
WORDS = ["dog", "grass", "sky"]
BOXES = [(0, 150, 0, 400), (150, 300, 0, 400), (180, 280, 100, 300), (200, 240, 120, 180)]
"""top, bottom, left, right of: the sky, the grass, a dog on it, and its ear."""
MEANT = ["sky", "grass", "dog", "dog"]


@dataclass(frozen=True)
class Drawn:
    """A picture whose regions are known, and whose tokens are those of the words that they mean."""

    id: str
    name: str
    segmenter: TextRegionSegmenter

    def read(self) -> RGB:
        return noise(3, (HEIGHT, WIDTH))

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        masks = torch.zeros(len(BOXES), HEIGHT, WIDTH)
        for mask, (top, bottom, left, right) in zip(masks, BOXES):
            mask[top:bottom, left:right] = 3
        tokens = self.segmenter.text.encode(MEANT)
        size = (HEIGHT, WIDTH)
        return RegionTokens(tokens, RegionMasks.from_masks(masks), size, size, segmenter.encoder.name)


@pytest.fixture(scope="module")
def site(quick_segmenter: TextRegionSegmenter) -> Iterator[str]:
    """The address of a server of 90 pictures."""
    pictures = [Drawn(f"drawn{number}", f"drawn {number}.png", quick_segmenter) for number in range(90)]
    with served(create_app(quick_segmenter, pictures)) as found:
        yield found


@pytest.fixture(scope="module")
def search_site(quick_segmenter: TextRegionSegmenter, indexed: Path) -> Iterator[str]:
    """The address of a server of an index of nine pictures."""
    index = RegionIndex.open(indexed / "index", quick_segmenter)
    with served(create_app(quick_segmenter, index=index)) as found:
        yield found


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an application while it runs."""
    listening = listen("127.0.0.1", 0)
    running = server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    yield address("127.0.0.1", listening)
    running.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that must not complain, nor ask anybody elsewhere."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on(
        "request",
        lambda request: (
            complaints.append(request.url)
            if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:"))
            else None
        ),
    )
    yield opened
    context.close()
    assert complaints == []


def until(page: Any, holds: str) -> None:
    """Wait until an expression holds (Playwright's own way needs ``eval``, which the page's policy forbids)."""
    end = time.monotonic() + 20
    while not page.evaluate(holds):
        assert time.monotonic() < end, holds
        page.wait_for_timeout(20)


def open_picture(page: Any, site: str, question: str = "") -> None:
    """Open a picture with a question, and wait until it can be pointed at."""
    page.goto("about:blank")
    page.goto(f"{site}#picture=drawn0{question}")
    ready = "#legend button" if "words" in question else "#said:has-text('regions were found')"
    page.wait_for_selector(ready, state="attached")


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the picture is on the screen."""
    box = page.locator("#stage").bounding_box()
    return box["x"] + (x + 0.5) / WIDTH * box["width"], box["y"] + (y + 0.5) / HEIGHT * box["height"]


def painted(page: Any, x: int, y: int, canvas: str = "paint") -> list[int]:
    """Red, green, blue and alpha of a pixel of a layer, which is as large as the picture."""
    read = "([id, x, y]) => [...document.getElementById(id).getContext('2d').getImageData(x, y, 1, 1).data]"
    return list(page.evaluate(read, [canvas, x, y]))


def swatch(page: Any, word: str) -> list[int]:
    """The colour of a word in the legend."""
    read = "(word) => getComputedStyle(document.querySelector(`#legend [data-word='${word}'] .swatch`)).backgroundColor"
    return [int(part) for part in page.evaluate(read, word)[4:-1].split(",")]


def type_words(page: Any, words: list[str]) -> None:
    page.fill("#words", ", ".join(words))
    until(page, f"document.querySelectorAll('#legend button').length === {len(words)}")


def test_words_paint_the_picture_and_every_setting_shows(page: Any, site: str) -> None:
    open_picture(page, site)
    type_words(page, WORDS)
    for word, (x, y) in {"sky": (50, 50), "grass": (30, 280), "dog": (250, 250)}.items():
        red, green, blue, alpha = painted(page, x, y)
        assert np.abs(np.subtract([red, green, blue], swatch(page, word))).max() <= 2
        assert alpha == round(0.55 * 255)
    assert "50 %" in page.inner_text("#legend [data-word='sky']")
    assert "33 %" in page.inner_text("#legend [data-word='grass']")
    page.fill("#opacity", "20")
    assert painted(page, 50, 50)[3] == round(0.2 * 255)
    page.check("#outline")
    assert painted(page, 50, 50)[3] == 0 and painted(page, 50, 149)[3] == 255
    page.uncheck("#outline")
    page.click("#legend [data-word='dog']")  # its heat
    hot, cold = painted(page, 150, 220), painted(page, 50, 50)
    assert hot[:2] != cold[:2] and hot[0] > 150 > cold[0]  # yellow against violet
    type_words(page, ["dog"])
    assert page.is_checked("input[value=heat]") and page.is_disabled("input[value=map]")
    type_words(page, WORDS)
    page.check("input[value=map]", force=True)
    page.fill("#least", "100")
    assert painted(page, 250, 250)[3] == 0  # the dog lies on the grass: their mean is below the best
    page.fill("#words", "")
    until(page, "!document.querySelector('#legend button')")
    assert page.is_checked("input[value=regions]")


def test_pointing_lights_the_smallest_region_and_the_wheel_walks_to_the_larger(page: Any, site: str) -> None:
    open_picture(page, site, "&words=dog,grass,sky")
    hovered = lambda: page.locator("#stage").get_attribute("data-hover")  # noqa: E731
    page.mouse.move(*at(page, 150, 220))
    until(page, "document.getElementById('stage').dataset.hover === '3'")
    assert page.inner_text("#tip").startswith("dog 1.0")
    seen = []
    for step in (-100, -100, -100, 100):
        page.mouse.wheel(0, step)
        page.wait_for_timeout(50)
        seen.append(hovered())
    assert seen == ["2", "1", "1", "2"]
    page.mouse.move(*at(page, 50, 20))
    until(page, "document.getElementById('stage').dataset.hover === '0'")
    assert painted(page, 200, 75, "light")[3] > 0 and painted(page, 200, 290, "light")[3] == 0


def test_a_click_pins_and_tells_the_best_words_and_the_region_is_taken_away(page: Any, site: str) -> None:
    open_picture(page, site, "&words=dog,grass,sky")
    page.mouse.click(*at(page, 150, 220))
    assert "Number 3 of 4: 2.0 % of the picture" in page.inner_text("#region-facts")
    first = page.locator("#region-words li").first.inner_text()
    assert first.startswith("dog") and "1.000" in first
    page.click("#larger")
    assert "Number 2 of 4" in page.inner_text("#region-facts")
    with page.expect_download() as waiting:
        page.click("#cutout")
    assert waiting.value.suggested_filename == "drawn 0_region_2.png"
    cut = np.asarray(Image.open(waiting.value.path()))
    assert cut.shape == (100, 200, 4) and (cut[..., 3] == 255).all()
    assert np.array_equal(cut[..., :3], noise(3, (HEIGHT, WIDTH))[180:280, 100:300])
    page.mouse.click(*at(page, 150, 220))
    page.mouse.click(*at(page, 150, 220))
    assert page.is_hidden("#region") or "Number 3" in page.inner_text("#region-facts")


def test_the_files_are_those_of_the_words(page: Any, site: str) -> None:
    open_picture(page, site, "&words=dog,grass,sky")
    files = {}
    for button in ("take-coco", "take-labels", "take-overlay"):
        with page.expect_download() as waiting:
            page.click(f"#{button}")
        files[waiting.value.suggested_filename] = waiting.value.path().read_bytes()
    assert set(files) == {"drawn 0_coco.json", "drawn 0_labels.png", "drawn 0_overlay.png"}
    coco = json.loads(files["drawn 0_coco.json"])
    assert [coco["categories"][one["category_id"] - 1]["name"] for one in coco["annotations"]] == MEANT
    labels = np.asarray(Image.open(io.BytesIO(files["drawn 0_labels.png"])))
    assert [WORDS[labels[y, x]] for x, y in ((50, 50), (30, 280), (250, 250))] == ["sky", "grass", "dog"]
    assert Image.open(io.BytesIO(files["drawn 0_overlay.png"])).size == (WIDTH, HEIGHT)


def test_the_address_holds_the_question_and_brings_it_back(page: Any, site: str) -> None:
    open_picture(page, site)
    type_words(page, WORDS)
    page.mouse.click(*at(page, 250, 250))
    page.check("#outline")
    page.fill("#opacity", "30")
    page.dispatch_event("#opacity", "change")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#legend button")
    assert page.input_value("#words") == "dog, grass, sky"
    assert page.is_checked("#outline") and page.input_value("#opacity") == "30"
    assert "Number 2 of 4" in page.inner_text("#region-facts")


def test_it_works_by_keyboard_alone_and_is_spoken(page: Any, site: str) -> None:
    open_picture(page, site, "&words=dog,grass,sky")
    spoken = lambda: page.inner_text("#said")  # noqa: E731
    page.focus("#stage")
    page.keyboard.press("ArrowDown")
    assert spoken().startswith("grass 1.0") or spoken().startswith("sky 1.0")
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    assert spoken().startswith("dog 1.0")
    page.keyboard.press("+")
    assert spoken().startswith("grass 1.0")
    page.keyboard.press("Enter")
    assert "Region 1 is pinned: grass 1.0" in spoken()
    page.keyboard.press("Escape")
    assert page.is_hidden("#region")
    pinned = []
    for _ in range(4):
        page.keyboard.press("n")
        pinned.append(page.locator("#stage").get_attribute("data-pinned"))
    assert pinned == ["0", "1", "2", "3"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    order = []
    page.focus("#file")
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert order == ["words", "stage", "SUMMARY"]


def test_only_thumbnails_that_are_seen_are_loaded_and_the_list_goes_on(page: Any, site: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/thumbnail" in request.url else None)
    page.goto(site)
    page.wait_for_selector("#picture-grid img[src]")
    page.wait_for_timeout(200)
    assert 0 < len(asked) <= 42
    scrolled = "(scrollTo(0, document.body.scrollHeight), document.querySelectorAll('#picture-grid li').length)"
    until(page, f"{scrolled} === 90")
    assert len(set(asked)) == len(asked) <= 90
    page.click("#picture-grid button >> nth=3")
    until(page, "document.getElementById('title').textContent === 'drawn 3.png'")
    page.go_back()
    page.wait_for_selector("#pictures:not([hidden])")


def test_a_picture_is_opened_dropped_and_pasted_and_a_bad_one_is_one_sentence(page: Any, site: str) -> None:
    page.goto(site)
    page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": png_of(noise(5))})
    until(page, "document.getElementById('said').textContent.includes('regions were found')")
    assert page.inner_text("#title") == "mine.png"
    send = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: 'image/png' }));
        const settings = { bubbles: true, cancelable: true };
        dispatchEvent(kind === 'drop' ? new DragEvent('drop', { ...settings, dataTransfer: data })
                                      : new ClipboardEvent('paste', { ...settings, clipboardData: data }));
    }"""
    for number, kind in enumerate(("drop", "paste")):
        page.evaluate(send, [kind, list(png_of(noise(6 + number)))])
        until(page, f"document.getElementById('title').textContent === '{kind}.png'")
    assert page.is_hidden("#error")


def test_whoever_enters_the_token_gets_to_the_question_of_the_link(
    browser: Any, quick_segmenter: TextRegionSegmenter
) -> None:
    app = create_app(quick_segmenter, [Drawn("drawn0", "drawn 0.png", quick_segmenter)], token="se cret&ü")
    context = browser.new_context()
    page = context.new_page()
    with served(app) as site:
        page.goto(f"{site}#picture=drawn0&words=dog,grass")
        for token in ("wrong", "se cret&ü"):
            page.fill("#token", token)
            page.click("button")
        page.wait_for_selector("#legend button")
        assert page.input_value("#words") == "dog,grass" and "token" not in page.url
        assert page.evaluate("document.cookie") == ""  # scripts cannot read it
    context.close()


def names_of_hits(page: Any) -> list[str]:
    """Names of the pictures in the grid, as they stand."""
    return [text.split(" · ")[-1] for text in page.locator("#hit-grid .name").all_inner_texts()]


def search(page: Any, words: str, minus: str = "") -> None:
    """Ask, and wait for the answer."""
    page.fill("#q", words)
    page.fill("#minus", minus)
    with page.expect_response("**/api/search"):
        page.keyboard.press("Enter")
    until(
        page, "document.querySelectorAll('#hit-grid li').length > 0 && !!document.getElementById('verdict').textContent"
    )


def test_words_find_regions_and_a_region_finds_more_like_it(
    page: Any, search_site: str, indexed: Path, quick_segmenter: TextRegionSegmenter
) -> None:
    index = RegionIndex.open(indexed / "index", quick_segmenter)
    page.goto(search_site)
    page.wait_for_selector("#verdict:has-text('of 9 pictures: type what to look for')")
    search(page, "dog, grass", "sky")
    expected = index.search(["dog", "grass"], minus=["sky"])
    assert names_of_hits(page) == [Path(hit.picture).name for hit in expected]
    assert page.locator("#hit-grid svg path.over").first.get_attribute("d").startswith("M")
    page.click("#hit-grid .more >> nth=0")
    page.wait_for_selector("#like:not([hidden])")
    until(page, "document.querySelectorAll('#hit-grid li').length === 8")
    assert names_of_hits(page) == [Path(hit.picture).name for hit in index.search(expected[0].token, but=expected[:1])]
    link = page.url
    page.click("#hit-grid li button >> nth=0")
    page.wait_for_selector("#region:not([hidden])")
    assert page.is_visible("#more-like")
    page.go_back()
    until(page, "document.querySelectorAll('#hit-grid li').length === 8")
    assert page.url == link
    page.click("#unlike")
    until(page, "document.getElementById('verdict').textContent.includes('type what to look for')")


def test_the_relevance_line_stands_where_answers_become_unlikely(page: Any, search_site: str) -> None:
    def changed(route: Any) -> None:
        told = route.fetch().json()
        for hit, relevance in zip(told["hits"], (0.9, 0.6, *[0.2] * 7)):
            hit["relevance"] = relevance
        route.fulfill(json={**told, "found": True})

    page.route("**/api/search", changed)
    page.goto(search_site)
    search(page, "dog")
    assert page.inner_text("#verdict").startswith("Found")
    lines = page.locator("#hit-grid li").evaluate_all("items => items.map((item) => item.className)")
    assert lines == ["", "", "line", *["weak"] * 7]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_fits_any_width(browser: Any, site: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    open_picture(page, site, "&words=dog,grass,sky")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in paper[4:-1].split(",")) > 384) == (scheme == "light")
    if width == 360:
        heights = "[...document.querySelectorAll('button, .button')].map((one) => one.offsetHeight).filter(Boolean)"
        assert min(page.evaluate(heights)) >= 40  # for a finger
    context.close()
