"""Scores and masks become a class map: by hand, and invariants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from textregion import RegionMasks, painting
from textregion.options import MaskType, Uncovered
from textregion.painting import DenseScores, PaintRules, class_probabilities, paint


def _masks(seed: int, regions: int, output_hw: tuple[int, int] = (33, 47)) -> RegionMasks:
    noise = torch.randn(regions, 8, 8, generator=torch.Generator().manual_seed(seed))
    return RegionMasks.from_masks(noise * 3, output_hw)


def test_two_regions_on_a_picture_of_4_by_4_by_hand() -> None:
    left, bottom = torch.zeros(4, 4), torch.zeros(4, 4)
    left[:, :2], bottom[3, :] = 1.0, 1.0
    scores = torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.0, 0.5]])
    masks = RegionMasks.from_masks(torch.stack([left, bottom]))
    labels, confidence = paint(masks, scores, (4, 4), PaintRules(scale=10))
    assert labels.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [2, 2, 2, 2]]
    torch.testing.assert_close(confidence[0, 0], torch.softmax(torch.tensor([0.0, 3.0, 0.0]), 0)[1])
    torch.testing.assert_close(confidence[0, 3], torch.tensor(1 / 3))
    torch.testing.assert_close(confidence[3, 0], torch.softmax(torch.tensor([0.0, 3.0, 5.0]), 0)[2])


def test_pixels_that_no_region_covers() -> None:
    masks = RegionMasks.from_masks(torch.tensor([[[1.0, 0.0]]]))
    scores = torch.tensor([[0.1, 0.9]])
    labels, confidence = paint(masks, scores, (1, 2), PaintRules(uncovered="first"))
    assert labels.tolist() == [[1, 0]]
    assert float(confidence[0, 1]) == pytest.approx(1.0)
    dense = DenseScores(torch.tensor([[[0.0]], [[0.4]]]))
    labels, confidence = paint(masks, scores, (1, 2), PaintRules(uncovered="dense", dense=dense))
    assert labels.tolist() == [[1, 1]]
    torch.testing.assert_close(confidence[0, 1], torch.softmax(torch.tensor([0.0, 20.0]), 0)[1])
    with pytest.raises(ValueError, match="dense scores"):
        paint(masks, scores, (1, 2), PaintRules(uncovered="dense"))
    for rules in (PaintRules(uncovered="none"), PaintRules(uncovered="none", prob_thd=0.4, class_of=[0, 1])):
        labels, confidence = paint(masks, scores, (1, 2), rules)
        assert labels.tolist() == [[1, -1]]
        torch.testing.assert_close(confidence, torch.tensor([[float(torch.sigmoid(torch.tensor(40.0))), 0.0]]))
    ((_, probabilities),) = class_probabilities(masks, scores, (1, 2), PaintRules(uncovered="none"))
    assert probabilities[:, 0, 1].tolist() == [0, 0]


def test_pixels_without_a_region_have_no_class_whatever_the_thresholds_and_synonyms() -> None:
    masks = RegionMasks.from_masks(torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]))
    scores = torch.tensor([[0.0, 0.0, 0.01], [0.0, 0.9, 0.0]])
    rules = PaintRules(uncovered="none", class_of=[5, 7, 5], prob_thd=0.9)
    labels, _ = paint(masks, scores, (1, 3), rules)
    assert labels.tolist() == [[0, 1, -1]]  # unsure, sure, and nowhere
    labels, _ = paint(masks, scores, (1, 3), PaintRules(uncovered="none", class_of=[5, 7, 9]))
    assert labels.tolist() == [[2, 1, -1]]


def test_synonyms_take_the_maximum_and_low_confidence_is_class_zero() -> None:
    masks = RegionMasks.from_masks(torch.ones(1, 1, 1))
    scores = torch.tensor([[0.02, 0.05, 0.06]])
    probabilities = torch.softmax(scores[0] * 50, 0)
    labels, confidence = paint(masks, scores, (1, 1), PaintRules(class_of=[0, 0, 1]))
    assert labels.item() == 1
    torch.testing.assert_close(confidence[0, 0], probabilities[2])
    labels, confidence = paint(masks, scores, (1, 1), PaintRules(class_of=[0, 1, 1], prob_thd=0.99))
    assert labels.item() == 0
    torch.testing.assert_close(confidence[0, 0], probabilities[2])


def test_hard_masks_count_in_full() -> None:
    masks = RegionMasks.from_masks(torch.full((1, 1, 1), 0.25))
    scores = torch.tensor([[0.0, 0.04]])
    _, soft = paint(masks, scores, (1, 1))
    _, hard = paint(masks, scores, (1, 1), PaintRules(mask_type="hard"))
    torch.testing.assert_close(soft[0, 0], torch.sigmoid(torch.tensor(0.5)))
    torch.testing.assert_close(hard[0, 0], torch.sigmoid(torch.tensor(2.0)))


SIZES = [(33, 47), (5, 90), (8, 8), (1, 3)]


@given(
    st.integers(0, 500),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from(SIZES),
    st.sampled_from(["soft", "hard"]),
    st.sampled_from(["uniform", "first", "dense", "none"]),
)
def test_blocks_and_bands_equal_the_whole(
    seed: int, regions: int, words: int, size_hw: tuple[int, int], mask_type: MaskType, uncovered: Uncovered
) -> None:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(regions) // 2  # pairs of members make a region
    masks = RegionMasks.from_masks(torch.randn(regions, 8, 8, generator=generator) * 4 - 2, size_hw)
    count = int(groups[-1]) + 1
    masks = RegionMasks(masks.logits, groups, torch.ones(count), torch.ones(count), size_hw)
    scores = torch.rand(count, words, generator=generator)
    dense = DenseScores(torch.rand(words, 3, 4, generator=generator))
    full = masks.full(size_hw).float()
    values = (full > 0).float() if mask_type == "hard" else full.clamp(max=1)
    logits = torch.einsum("rk,rhw->khw", scores, values) * 50
    bare = (values == 0).all(0)
    if uncovered == "first":
        logits[0, bare] = 50.0
    elif uncovered == "dense":
        logits[:, bare] = F.interpolate(dense.grid[None], size_hw, mode="bilinear")[0][:, bare] * 50
    expected = torch.softmax(logits, 0)
    if uncovered == "none":
        expected[:, bare] = 0.0
    rules = PaintRules(dense=dense if uncovered == "dense" else None, uncovered=uncovered, mask_type=mask_type)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painting, "BAND_BYTES", 4000)
        patch.setattr(painting, "LOGIT_BYTES", 1000)
        patch.setattr(painting, "CELLS", 3)
        bands = list(class_probabilities(masks, scores, size_hw, rules))
        labels, confidence = paint(masks, scores, size_hw, rules)
    assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == list(range(size_hw[0]))
    torch.testing.assert_close(torch.cat([band for _, band in bands], 1), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(confidence, expected.amax(0), atol=1e-4, rtol=1e-3)
    assert torch.equal(labels < 0, bare & (uncovered == "none"))
    chosen = expected.gather(0, labels[None].clamp(min=0))[0]
    torch.testing.assert_close(chosen, expected.amax(0), atol=1e-4, rtol=1e-3)


def test_a_picture_is_painted_in_several_bands() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painting, "BAND_BYTES", 4000)
        bands = list(class_probabilities(_masks(0, 2), torch.rand(2, 3), (33, 47)))
    assert len(bands) > 2
    assert max(band.numel() * 4 for _, band in bands) <= 4000


@given(st.integers(0, 500), st.permutations(range(4)))
def test_the_order_of_regions_and_of_words_does_not_matter(seed: int, order: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks, scores = _masks(seed, 4), torch.rand(4, 4, generator=generator)
    index = torch.tensor(order)
    rules = PaintRules(uncovered="dense", dense=DenseScores(torch.rand(4, 3, 3)))
    labels, confidence = paint(masks, scores, (20, 30), rules)
    turned, same = paint(masks[index], scores[index], (20, 30), PaintRules(uncovered="uniform"))
    plain, plain_confidence = paint(masks, scores, (20, 30), PaintRules(uncovered="uniform"))
    torch.testing.assert_close(same, plain_confidence, atol=1e-4, rtol=0)
    assert float((turned == plain).float().mean()) > 0.99
    by_words, _ = paint(masks, scores[:, index], (20, 30))
    sure = (masks.full((20, 30)) > 0).any(0)
    assert float((index[by_words] == plain)[sure].float().mean()) > 0.99
    assert labels.shape == confidence.shape == (20, 30)


def test_no_regions_at_all() -> None:
    none = RegionMasks.from_masks(torch.zeros(0, 4, 4), (6, 5))
    labels, confidence = paint(none, torch.zeros(0, 4), (6, 5))
    assert labels.shape == (6, 5)
    assert bool((labels == 0).all())
    torch.testing.assert_close(confidence, torch.full((6, 5), 0.25))
    labels, confidence = paint(none, torch.zeros(0, 4), (6, 5), PaintRules(uncovered="none"))
    assert bool((labels == -1).all()) and not confidence.any()
    grid = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    labels, _ = paint(none, torch.zeros(0, 2), (1, 4), PaintRules(uncovered="dense", dense=DenseScores(grid)))
    assert labels.tolist() == [[1, 1, 0, 0]]
    assert F.one_hot(labels).sum() == 4
