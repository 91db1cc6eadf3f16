"""Answers: exact ones, one a picture or all; words, regions, both together, and what is not wanted."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import WordFeatures
from tests.index.conftest import SIZE, StubSegmenter, regions_of
from textregion import RegionIndex, RegionMasks, RegionTokens, UserError
from textregion.index import vectors
from textregion.index.hits import best_regions
from textregion.index.question import NEUTRAL_WORDS, Question
from textregion.index.relevance import Relevance
from textregion.index.rows import FileFacts, PictureRows
from textregion.index.store import Store


@pytest.fixture
def library(index: RegionIndex, tmp_path: Path) -> RegionIndex:
    """Forty pictures in two folders."""
    for number in range(40):
        path = tmp_path / f"library/{'odd' if number % 2 else 'even'}/{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"picture {number}".encode())
    index.add(tmp_path / "library")
    return index


def exact(index: RegionIndex, question: torch.Tensor) -> list[tuple[str, int, float]]:
    """Every region with its score, from the bytes of the pictures, best first."""
    found = []
    for path in index.pictures:
        tokens = regions_of(Path(path).read_bytes(), "stub").tokens.half().float()
        found += [(path, region, float(score)) for region, score in enumerate(tokens @ question)]
    return sorted(found, key=lambda one: -one[2])


def word(index: RegionIndex, text: str) -> torch.Tensor:
    return index.encode_words([text])[0]


def test_the_best_region_of_every_picture(library: RegionIndex) -> None:
    best: dict[str, tuple[int, float]] = {}
    for path, region, score in exact(library, word(library, "red truck")):
        best.setdefault(path, (region, score))
    hits = library.search("red truck", k=7)
    assert [(hit.picture, hit.region) for hit in hits] == [(path, best[path][0]) for path in list(best)[:7]]
    assert [hit.score for hit in hits] == pytest.approx([best[hit.picture][1] for hit in hits], abs=1e-6)
    assert len(library.search("red truck", k=1000)) == 40


def test_a_token_finds_itself(library: RegionIndex) -> None:
    region = library.regions(library.pictures[3])[1]
    best, second = library.search(region.token, k=2)
    assert (best.picture, best.region) == (library.pictures[3], 1) and best.score == pytest.approx(1, abs=1e-3)
    assert best.score > second.score and best.mask().shape == region.size_hw
    assert library.pictures[3] not in [hit.picture for hit in library.search(region.token, k=50, but=[region])]


def test_all_regions_without_those_that_lie_in_one_another(library: RegionIndex) -> None:
    hits = library.search("red truck", k=1000, per_region=True)
    ranked = exact(library, word(library, "red truck"))
    kept: list[tuple[str, int]] = []
    for path, region, _ in ranked:
        masks = {other: library.regions(path)[other].low_mask() for p, other in kept if p == path}
        own = library.regions(path)[region].low_mask()
        if all((own & mask).sum() < 0.8 * min(own.sum(), mask.sum()) for mask in masks.values()):
            kept.append((path, region))
    assert [(hit.picture, hit.region) for hit in hits] == kept
    assert len(kept) < len(ranked)  # some did
    few = library.search("red truck", k=5, per_region=True)
    assert [(hit.picture, hit.region) for hit in few] == kept[:5]


def test_more_candidates_are_looked_at_where_many_are_nested(tmp_path: Path) -> None:
    """A hundred and fifty regions of one place before the next answer."""
    index = RegionIndex.create(tmp_path / "index", StubSegmenter())
    random = torch.Generator().manual_seed(0)
    tokens = F.normalize(torch.eye(SIZE)[:1] + 0.01 * torch.randn(152, SIZE, generator=random), dim=1)
    tokens[150:] = F.normalize(torch.eye(SIZE)[1:3] + 0.1 * torch.eye(SIZE)[:1], dim=1)
    masks = torch.zeros(152, 8, 8)
    masks[:150, :4, :4], masks[150, 6:, 6:], masks[151, :2, 6:] = 1, 1, 1
    regions = RegionTokens(tokens, RegionMasks.from_masks(masks), (8, 8), (8, 8), "stub")
    Store(index.folder).add([PictureRows.of("/a.png", FileFacts(1, 1), "x", regions)])
    index.refresh()
    hits = index.search(torch.eye(SIZE)[0], k=3, per_region=True)
    assert sorted(hit.region for hit in hits)[1:] == [150, 151]
    table = index._table
    scores = table.scan(torch.eye(SIZE)[0])
    assert len(best_regions(table, torch.eye(SIZE)[0], scores, table.alive, 3, hits[:1])) == 2


def test_only_below_a_folder(library: RegionIndex, tmp_path: Path) -> None:
    hits = library.search("red truck", k=99, within=tmp_path / "library/odd")
    assert len(hits) == 20 and all(Path(hit.picture).parent.name == "odd" for hit in hits)
    everywhere = [hit.picture for hit in library.search("red truck", k=99) if "/odd/" in hit.picture]
    assert [hit.picture for hit in hits] == everywhere
    assert len(library.search("red truck", k=99, within=[tmp_path / "library/odd", tmp_path / "library/even"])) == 40
    with pytest.raises(UserError, match="holds no pictures of"):
        library.search("red truck", within=tmp_path / "library/od")


def test_files_of_the_same_bytes_answer_once(library: RegionIndex, tmp_path: Path) -> None:
    before = [(hit.picture, hit.score) for hit in library.search("red truck", k=99)]
    for picture in library.pictures[:5]:
        shutil.copy(picture, tmp_path / "library" / f"copy of {os.path.basename(picture)}")
    library.add(tmp_path / "library")
    assert len(library) == 45
    after = [(hit.picture, hit.score) for hit in library.search("red truck", k=99)]
    assert len(after) == 40 and [score for _, score in after] == [score for _, score in before]
    only = library.search("red truck", k=99, within=tmp_path / "library/even")
    assert len(only) == 20


def test_what_is_gone_is_no_answer(library: RegionIndex, tmp_path: Path) -> None:
    best = library.search("red truck", k=1)[0]
    Path(best.picture).unlink()
    library.add(tmp_path / "library")
    assert best.picture not in [hit.picture for hit in library.search("red truck", k=99)]
    assert best.picture not in [hit.picture for hit in library.search("red truck", k=999, per_region=True)]


def test_an_empty_index_answers_nothing(index: RegionIndex) -> None:
    hits = index.search("red truck")
    assert hits == [] and hits.found is None and index.search("dog", per_region=True) == []


def test_sides_are_added_up_after_their_means() -> None:
    """Worked out by hand in two dimensions: text lies around (0, 1), pictures around (1, 0)."""
    places = {"a": [0.0, 2.0], "b": [-1.0, 1.0]} | {neutral: [0.0, 1.0] for neutral in NEUTRAL_WORDS}

    def encode(words: list[str]) -> torch.Tensor:
        return torch.tensor([places[text] for text in words])

    mean = torch.tensor([1.0, 0.0])
    ask = Question.of
    assert ask("a").vector(encode, 2, mean).tolist() == [0, 2]  # one side alone is taken as it is
    half = 0.5**0.5
    assert ask(["a", "b"]).vector(encode, 2, mean).tolist() == pytest.approx([-half, half])
    below = F.normalize(torch.tensor([1.0, -1.0]), dim=0)
    away = F.normalize(below - mean, dim=0)
    assert ask([below, "b"]).vector(encode, 2, mean).tolist() == pytest.approx(
        F.normalize(away + torch.tensor([-1.0, 0.0]), dim=0).tolist()
    )
    assert ask("a", minus="b").vector(encode, 2, mean).tolist() == pytest.approx(
        F.normalize(torch.tensor([0.5, 1.0]), dim=0).tolist()
    )


def test_words_together_and_words_not_wanted(library: RegionIndex) -> None:
    both = library.search(["dog", "red"], k=40)
    assert {hit.picture: hit.score for hit in both} == pytest.approx(
        {hit.picture: hit.score for hit in library.search(("red", "dog"), k=40)}, abs=1e-5
    )
    plain, less = library.search("dog", k=40), library.search("dog", minus="red", k=40)
    assert [hit.picture for hit in plain] != [hit.picture for hit in less]
    red = word(library, "red")
    assert sum(float(hit.token @ red) for hit in less[:10]) < sum(float(hit.token @ red) for hit in plain[:10])


@pytest.mark.parametrize("asked", ["", "  ", ["dog", ""], [], None, 3, ["\ud800"], [["dog"]]])
def test_nothing_to_look_for(library: RegionIndex, asked: object) -> None:
    with pytest.raises(UserError):
        library.search(asked)  # type: ignore[arg-type]


def test_what_else_is_refused(library: RegionIndex, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1"):
        library.search("dog", k=0)
    with pytest.raises(UserError, match=r"\(32,\), but got \(3,\)"):
        library.search(torch.ones(3))
    with pytest.raises(UserError, match="not blank"):
        library.search("dog", minus=" ")
    with pytest.raises(UserError, match="is not in the index"):
        library.regions(tmp_path / "library/none.png")
    with pytest.raises(UserError, match="opened without a segmenter"):
        RegionIndex.open(library.folder).search("dog")
    other = RegionIndex.open(library.folder, text=lambda: StubSegmenter("another").text)
    with pytest.raises(UserError, match="'another' now"):
        other.search("dog")


def test_the_region_at_a_pixel_is_the_smallest_there(library: RegionIndex) -> None:
    picture = library.pictures[0]
    regions = library.regions(picture)
    inside = [region.mask() for region in regions]
    y, x = map(int, inside[0].nonzero()[0][:1].tolist() + inside[0].nonzero()[1][:1].tolist())
    at = library.region_at(picture, x, y)
    holding = [region for region, mask in zip(regions, inside) if mask[y, x]]
    assert at.region == min(holding, key=lambda region: region.area).region
    with pytest.raises(UserError, match="outside of"):
        library.region_at(picture, 60, 0)
    free = (~sum(inside).astype(bool)).nonzero()
    with pytest.raises(UserError, match="no region at"):
        library.region_at(picture, int(free[1][0]), int(free[0][0]))


@given(st.integers(0, 150), st.sampled_from([1, 3, 64, 100]), st.integers(0, 2**30))
def test_int8_copies_are_close_and_their_products_exact(rows: int, size: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tokens = F.normalize(torch.randn(rows, size, generator=random) + 0.5, dim=1).half()
    kept = vectors.Vectors.of(tokens)
    restored = kept.levels.float() * kept.scale[:, None] + kept.mean
    assert rows == 0 or float((restored - tokens.float()).abs().max() / kept.scale.max()) <= 0.51
    question = torch.randint(-127, 128, (size,), generator=random).to(torch.int8)
    assert vectors.int8_products(kept.levels, question).tolist() == (kept.levels.long() @ question.long()).tolist()


def test_a_machine_without_int8_products_gives_the_same(library: RegionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    before = library._table.scan(word(library, "dog"))
    monkeypatch.setattr(vectors, "has_int8_products", lambda size: False)
    assert library._table.scan(word(library, "dog")).tolist() == pytest.approx(before.tolist(), abs=1e-6)


def test_relevance_worked_out_by_hand() -> None:
    neutral = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    relevance = Relevance(neutral, usual_best=1.0, spread=0.5)
    scores = np.array([0, 2, 4, 6], np.float32)  # mean 3, deviation 5 ** 0.5
    tokens = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    values = relevance.rate(torch.tensor([6.0, 0.0]), scores, tokens)
    outstanding, above = (6 - 3) / 5**0.5 - 1, (6 - 1) / 0.5
    assert values[0] == pytest.approx(1 / (1 + math.exp(-(2.0 * outstanding + 2.6 * above - 6.5))), abs=1e-5)
    outstanding, above = -3 / 5**0.5 - 1, 0
    assert values[1] == pytest.approx(1 / (1 + math.exp(-(2.0 * outstanding - 6.5))), abs=1e-5)


def test_neutral_words_in_an_index(library: RegionIndex) -> None:
    neutral = library.encode_words(NEUTRAL_WORDS)
    scores = np.array([[score for *_, score in sorted(exact(library, word))] for word in neutral])
    relevance = Relevance.of(library._table, library.encode_words)
    best = (scores.max(1) - scores.mean(1)) / scores.std(1)
    assert relevance.usual_best == pytest.approx(best.mean(), abs=0.02)
    assert relevance.spread == pytest.approx((scores - scores.mean(0)).std(), abs=0.01)


def test_words_together_are_as_relevant_as_the_least(library: RegionIndex) -> None:
    hits = library.search(["dog", "red"], k=5)
    table = library._table
    for hit in hits:
        alone = [
            library._relevance.rate(word(library, text), table.scan(word(library, text)), hit.token[None])[0]
            for text in ("dog", "red")
        ]
        assert hit.relevance == pytest.approx(min(alone), abs=1e-5)
    assert hits.relevance == max(hit.relevance or 0 for hit in hits)


def test_what_is_there_is_found_and_what_is_not_is_not(library: RegionIndex) -> None:
    token = library.regions(library.pictures[0])[0].token
    text = library.segmenter.text
    text.encode = lambda words: torch.stack(
        [token if word == "it" else WordFeatures(SIZE).encode([word])[0] for word in words]
    )
    assert library.search("it").found is True and "found" in library.search("it").verdict
    assert library.search("zebra").found is False and "nothing like it" in library.search("zebra").verdict
    assert library.search(token).found is None and "similar" in library.search(token).verdict


def test_an_approximate_index_without_its_package(library: RegionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(UserError, match=r"needs the package lancedb: pip install 'textregion\[search\]'"):
        library.search("dog", approximate=True)


def test_an_approximate_index_follows_the_exact_one(library: RegionIndex, tmp_path: Path) -> None:
    """Of few regions it finds all."""
    pytest.importorskip("lancedb", reason="the extra [search] is not installed")
    for _ in range(2):
        exact_hits, hits = library.search("dog", k=5), library.search("dog", k=5, approximate=True)
        assert [(hit.picture, hit.region) for hit in hits] == [(hit.picture, hit.region) for hit in exact_hits]
        assert hits.relevance == pytest.approx(exact_hits.relevance, abs=0.05)
        best = exact_hits[0].picture
        Path(best).unlink()
        library.add(tmp_path / "library")  # the table is of another state now
        assert best not in [hit.picture for hit in library.search("dog", k=5, approximate=True)]
    check = library.check()
    assert check.ann_text_recall == check.ann_image_recall == 1
