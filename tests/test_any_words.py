"""Whatever words are given: a result or one sentence, and the same one in whatever order they stand."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from tests.any_picture import run
from tests.test_demo import check_results
from textregion import TextRegionSegmenter, UserError, export, fonts, text, visualize
from textregion.painting import class_probabilities
from textregion.segmenter import Segmentation
from textregion.templates import load_templates

STRANGE = (
    *("", " ", "\t\n", "\u2003", "dog", "dog ", "Dog", "x" * 5000, "dog " * 1250, "名" * 5000, "a" + "\u0301" * 500),
    *("🐶", "👩‍👩‍👧 family", "\x00", "a\x07b", "\x1b[31mred", "two\nlines", "\u200b", "\ufeffdog", "שלום עולם", "قطة"),
    *(
        "\u202eevil",
        "\ud800",
        "b\udcffb",
        "-",
        "--help",
        "=",
        "'quoted'",
        '"',
        "{}",
        "%s",
        "&lt;b&gt;",
        "null",
        "7",
        "\uffff",
    ),
)
ORDINARY = ("red truck", "wheel", "sky", "собака", "名前", "🐶", "שלום", "x" * 300)
any_words = st.lists(st.one_of(st.sampled_from(STRANGE), st.text(max_size=9)), max_size=6)


class Encoded:
    """A segmenter, and about ten regions of a photograph."""

    def __init__(self, segmenter: TextRegionSegmenter) -> None:
        self.segmenter = segmenter
        self.regions = segmenter.encode(np.ascontiguousarray(data.astronaut()[::4, ::3]))
        self.size_hw = self.regions.size_hw
        self.picture = np.zeros((*self.size_hw, 3), np.uint8)

    def segment(self, words: Sequence[str]) -> Segmentation:
        return self.segmenter.segment(self.regions, words)


@pytest.fixture(scope="module")
def encoded(segmenters: dict[str, TextRegionSegmenter]) -> Encoded:
    return Encoded(segmenters["clip"])


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "astronaut.png"
    Image.fromarray(data.astronaut()[::6, ::4]).save(path)
    return path


def good(words: list[str]) -> bool:
    """Whether there is at least one word, and no blank or broken one."""
    try:
        return len(words) > 0 and all(word.encode("utf-8").decode().strip() for word in words)
    except UnicodeEncodeError:
        return False


def separated(words: list[str], separators: str) -> list[str]:
    """The words as the demo takes them."""
    parts: list[str] = []
    for word in words:
        if set(word) & set(separators):
            parts += [part.strip() for part in re.split(f"[{separators}]", word) if part.strip()]
        else:
            parts.append(word)
    return parts


@given(any_words)
@settings(derandomize=True, max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_the_library_gives_a_result_or_one_sentence(encoded: Encoded, words: list[str]) -> None:
    if not good(words):
        with pytest.raises(UserError) as caught:
            encoded.segment(words)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 200
        return
    result = encoded.segment(words)
    assert result.labels.shape == result.confidence.shape == encoded.size_hw
    assert result.scores.shape == (len(encoded.regions), len(words))
    assert bool(result.scores.isfinite().all())
    assert int(result.labels.min()) >= 0
    assert int(result.labels.max()) < len(words)
    shown = visualize.overlay(encoded.picture, result.labels, words)
    assert shown.height < encoded.size_hw[0] + 1000  # a legend, not a book


def test_two_thousand_words_at_once(encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = text.TextBank(encoded.segmenter.encoder, templates=load_templates(["a bad photo of a {}."]))
    monkeypatch.setattr(encoded.segmenter, "text", bank)
    words = [f"word {number}" for number in range(2000)]
    result = encoded.segment(words)
    assert result.scores.shape == (len(encoded.regions), 2000)
    assert len(result.labels.unique()) > 1
    few = encoded.segment([words[index] for index in result.labels.unique()])
    torch.testing.assert_close(few.scores, result.scores[:, result.labels.unique()], atol=1e-5, rtol=0)
    colours = visualize.word_colours(words)
    assert len(np.unique(colours, axis=0)) == 2000
    assert visualize.overlay(encoded.picture, result.labels, words).mode == "RGB"
    with pytest.raises(UserError, match="at most 256 words, but there are 2000"):
        export.label_map_png(result.labels, colours)


@given(any_words, st.booleans())
@settings(derandomize=True, max_examples=30, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@pytest.mark.usefixtures("quick_demo")
def test_the_demo_gives_a_result_or_one_sentence(picture: Path, words: list[str], in_yaml: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, config = Path(folder, "out"), Path(folder, "words.yaml")
        if in_yaml:
            config.write_text(yaml.safe_dump({str(picture): {"label": words}}), encoding="utf-8")
            status, _, errors = run("--image_query_cfg", str(config), "--output_dir", str(out))
        else:
            status, _, errors = run("--image_list", str(picture), "--output_dir", str(out), "--labels", *words)
        expected = separated(words, ";" if in_yaml else ",;，；、")
        taken_for_options = not in_yaml and any(word.startswith("-") for word in words)
        if status == 0:
            assert errors == []
            assert good(expected)
            content = check_results(out, "astronaut", picture, list(dict.fromkeys(expected)))
            assert content["words"] == [*dict.fromkeys(expected), *filter(None, [content["background"]])]
            return
        assert status == 2 or "--help" in words
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
        assert not good(expected) or taken_for_options
        assert not out.exists()


LISTS = {
    "2,000 words": [f"word {number}" for number in range(2000)],
    "a very long blank": ["dog", " " * 5000],
    "words within words": ["dog", ["cat"] * 5000],
    "a date": "2026-01-01",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.usefixtures("quick_demo")
def test_a_bad_list_is_one_short_sentence(kind: str, picture: Path, tmp_path: Path) -> None:
    config = tmp_path / "words.yaml"
    config.write_text(yaml.safe_dump({str(picture): {"label": LISTS[kind]}}))
    status, said, errors = run("--image_query_cfg", str(config), "--output_dir", str(tmp_path / "out"))
    assert (status, said, len(errors)) == (2, [], 1)
    assert str(picture) in errors[0]
    assert len(errors[0]) < 400


BROKEN = {
    "a date that does not exist": "cat.jpg: {label: [2026-13-45]}",
    "brackets without end": "[" * 5000,
    "aliases of aliases": "a: &a [x, x]\n"
    + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]" for i in range(24)),
    "a list within itself": "cat.jpg: {label: &a [*a]}",
    "a path that cannot be one": '"a\\0b": {label: [dog]}',
    "half a character in a path": '"a\\ud800b": {label: [dog]}',
    "half a character in a word": 'cat.jpg: {label: ["a\\ud800b"]}',
    "a very long path": f"? {'a' * 5000}\n: {{label: [dog]}}",
    "no path": "'': {label: [dog]}",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.usefixtures("quick_demo")
def test_a_broken_yaml_is_one_sentence(kind: str, tmp_path: Path) -> None:
    config = tmp_path / "words.yaml"
    config.write_text(BROKEN[kind])
    status, said, errors = run("--image_query_cfg", str(config), "--output_dir", str(tmp_path / "out"))
    assert (status, said, len(errors)) == (2, [], 1)
    assert errors[0].startswith("error: ")
    assert not (tmp_path / "out").exists()


@given(st.permutations(ORDINARY))
@settings(derandomize=True, max_examples=12, phases=[Phase.generate])
def test_results_do_not_depend_on_the_order_of_the_words(encoded: Encoded, order: list[str]) -> None:
    usual, turned = encoded.segment(ORDINARY), encoded.segment(order)
    place = torch.tensor([order.index(word) for word in ORDINARY])
    torch.testing.assert_close(turned.scores[:, place], usual.scores, atol=1e-6, rtol=0)
    bands = class_probabilities(encoded.regions.region_masks, usual.scores, encoded.regions.resized_hw)
    best = torch.cat([probabilities.topk(2, dim=0).values for _, probabilities in bands], dim=1)
    clear = F.interpolate((best[:1] - best[1:])[None], encoded.size_hw)[0, 0] > 1e-4  # no ties
    assert clear.float().mean() > 0.5
    assert torch.equal(turned.labels[clear], place[usual.labels][clear])
    torch.testing.assert_close(turned.confidence, usual.confidence, atol=1e-5, rtol=0)
    # What is made of them: the same colours in the label map, the same overlay with the same legend.
    colours = visualize.word_colours(order)
    np.testing.assert_array_equal(colours[place], visualize.word_colours(ORDINARY))
    overlays = [
        visualize.overlay(encoded.picture, labels, words)
        for labels, words in ((usual.labels, ORDINARY), (place[usual.labels], order))
    ]
    assert overlays[0].size == overlays[1].size
    numbered = [word for word in ORDINARY if fonts.written(word, 0)[0] == "word 0"]
    if not any(int((usual.labels == ORDINARY.index(word)).sum()) for word in numbered):
        np.testing.assert_array_equal(*map(np.asarray, overlays))


@pytest.mark.usefixtures("quick_demo")
def test_files_do_not_depend_on_the_order_of_the_words(picture: Path, tmp_path: Path) -> None:
    kept = []
    for name, words in (("as", ORDINARY[:5]), ("turned", ORDINARY[4::-1])):
        status, _, errors = run("--image_list", str(picture), "--output_dir", str(tmp_path / name), "--labels", *words)
        assert (status, errors) == (0, [])
        content = json.loads((tmp_path / name / "astronaut_regions.json").read_text(encoding="utf-8"))
        label_map = Image.open(tmp_path / name / "astronaut_labels.png")
        kept.append((label_map.convert("RGB"), [(found["bbox"], found["word"]) for found in content["regions"]]))
    assert kept[0][1] == kept[1][1] != []
    different = np.any(np.asarray(kept[0][0]) != np.asarray(kept[1][0]), axis=2)
    blank = np.all(np.asarray(kept[0][0]) == visualize.word_colours(ORDINARY[:1])[0], axis=2)
    assert not (different & ~blank).any()  # where no region is, all words are alike and the first one stands
