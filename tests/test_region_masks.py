"""Soft masks kept small: whatever part of the full size is asked for, it is that of the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from textregion import RegionMasks
from textregion.region_masks import _containment, containment_exceeds
from textregion.resample import bilinear_axis, sample


def _soft(seed: int, count: int, size: int = 12) -> torch.Tensor:
    noise = torch.randn(count, size, size, generator=torch.Generator().manual_seed(seed))
    return (F.avg_pool2d(noise[None], 3, 1, 1)[0] * 6).clamp(0, 3).half()


def _grouped(seed: int) -> RegionMasks:
    ones = torch.ones(3)
    return RegionMasks(_soft(seed, 5), torch.tensor([0, 1, 1, 1, 2]), ones, ones, (31, 40))


def _whole(logits: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits[None].float(), size_hw, mode="bilinear", align_corners=False)[0].half()


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 40))
def test_full_masks_are_interpolated_and_joined_by_maximum(seed: int, height: int, width: int) -> None:
    masks = _grouped(seed)
    members = _whole(masks.logits, (height, width))
    expected = torch.stack([members[0], members[1:4].amax(0), members[4]])
    torch.testing.assert_close(masks.full((height, width)), expected, atol=2e-3, rtol=0)


@given(st.integers(0, 500), st.integers(0, 30), st.integers(1, 31))
def test_a_band_of_rows_is_that_band_of_the_whole(seed: int, start: int, length: int) -> None:
    masks = _grouped(seed)
    rows, cols = masks.axes((31, 40))
    band = slice(start, start + length)
    assert torch.equal(masks.at(rows[band], cols), masks.full()[:, band])


def test_picking_regions_keeps_members_scores_and_order() -> None:
    masks = RegionMasks(
        _soft(1, 4), torch.tensor([0, 1, 1, 2]), torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.1, 0.2, 0.3]), (9, 9)
    )
    picked = masks[torch.tensor([2, 1])]
    assert picked.region_of.tolist() == [0, 1, 1]
    assert picked.scores.tolist() == pytest.approx([0.7, 0.8])
    assert picked.stability.tolist() == pytest.approx([0.3, 0.2])
    assert torch.equal(picked.full(), masks.full()[[2, 1]])
    assert torch.equal(masks.full(regions=torch.tensor([1])), masks.full()[1:2])
    assert torch.equal(masks[torch.tensor([False, True, False])].full(), masks.full()[1:2])
    assert len(masks[torch.zeros(3, dtype=torch.bool)]) == 0


def test_boxes_of_the_low_resolution_masks() -> None:
    soft = torch.zeros(2, 6, 8)
    soft[0, 1:3, 2:5] = 1.0
    soft[1, 5, 7] = 0.5
    assert RegionMasks.from_masks(soft)._member_boxes.tolist() == [[1, 2, 3, 5], [5, 7, 6, 8]]


@pytest.mark.parametrize(
    ("region_of", "scores"), [([0, 0, 2], 3), ([1, 1, 2], 2), ([0, 1, 0], 2), ([0, 1, 1], 3), ([0, 1], 2)]
)
def test_inconsistent_columns_are_refused(region_of: list[int], scores: int) -> None:
    column = torch.ones(scores)
    with pytest.raises(ValueError, match=r"region_of|expected"):
        RegionMasks(_soft(0, 3), torch.tensor(region_of), column, column, (4, 4))


@given(st.integers(0, 2000), st.integers(13, 60), st.integers(13, 60), st.floats(0.05, 0.95))
def test_containment_bounds_decide_as_the_full_size_does(seed: int, height: int, width: int, threshold: float) -> None:
    soft = _soft(seed, 5)
    decided = containment_exceeds(soft[0], soft[1:], (height, width), threshold)
    full = _whole(soft, (height, width)).double()
    for one, other, said in zip([full[0]] * 4, full[1:], decided):
        contained = float(torch.minimum(one, other).sum() / min(one.sum(), other.sum()))
        if abs(contained - threshold) > 1e-4:
            assert said == (contained > threshold)


@pytest.mark.parametrize(("even", "above_the_bounds"), [(True, False), (False, True)])
def test_containment_is_that_of_the_masks_as_16_bits_round_them(even: bool, above_the_bounds: bool) -> None:
    """Sampled half way between two neighbouring numbers of 16 bits, a mask is rounded to the even one."""
    ulp = 2.0**-10
    one, other = torch.zeros(2, 1, 40, dtype=torch.float16)
    one[0, :19] = 2.0
    one[0, 20::2] = 1.0 + (0 if even else ulp)
    one[0, 21::2] = 1.0 + (ulp if even else 2 * ulp)
    other[0, 20:] = 3.0
    first, second = _whole(torch.stack([one, other]), (1, 60)).float()
    contained = float(torch.minimum(first, second).sum()) / float(first.sum())
    plain = F.interpolate(torch.stack([one, other])[None].float(), (1, 60), mode="bilinear", align_corners=False)[0]
    unrounded = float(torch.minimum(plain[0], plain[1]).sum()) / float(plain[0].sum())
    assert (contained > unrounded) == above_the_bounds
    between = (contained + unrounded) / 2
    assert containment_exceeds(one, other[None], (1, 60), between) == [above_the_bounds]


def test_containment_by_hand() -> None:
    small, large = torch.zeros(4, 4), torch.zeros(4, 4)
    small[:2, :2], large[:2, :] = 1.0, 2.0
    axes = bilinear_axis(4, 4), bilinear_axis(4, 4)
    assert _containment(small, large, *axes) == 1.0
    assert _containment(large, torch.ones(4, 4), *axes) == 0.5
    assert containment_exceeds(small, torch.zeros(0, 4, 4), (4, 4), 0.5) == []


@given(st.integers(1, 20), st.integers(1, 60))
def test_sampling_totals_and_values(source: int, target: int) -> None:
    axis = bilinear_axis(source, target)
    values = torch.rand(source, generator=torch.Generator().manual_seed(source))
    expected = F.interpolate(values[None, None], target, mode="linear", align_corners=False)[0, 0]
    one = bilinear_axis(1, 1)
    torch.testing.assert_close(sample(values[None], one, axis)[0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(axis.totals(source) @ values, expected.sum(), atol=1e-3, rtol=1e-4)


@given(st.integers(0, 200), st.sampled_from([(40, 61), (5, 3), (8, 8), (1, 30)]))
def test_the_foreground_is_where_the_full_mask_is_above_zero(seed: int, size_hw: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 8, 8, generator=generator) * 3 - 2
    logits[4] = -1.0  # an empty one
    masks = RegionMasks.from_masks(logits, size_hw)
    ones = torch.ones(3)
    masks = RegionMasks(masks.logits, torch.tensor([0, 0, 1, 1, 2]), ones, ones, size_hw)
    for region, whole in enumerate(masks.full() > 0):
        assert torch.equal(masks.foreground(region), whole)
    assert torch.equal(masks.foreground(1, (9, 11)), masks.full((9, 11))[1] > 0)


@pytest.mark.parametrize("size_hw", [(1, 8), (8, 1), (1, 1)])
def test_a_region_between_the_pixels_of_a_narrow_picture_has_no_foreground(size_hw: tuple[int, int]) -> None:
    masks = torch.zeros(2, 8, 8)
    masks[0, :2, :2] = 1
    masks[1] = 1
    regions = RegionMasks.from_masks(masks, size_hw)
    assert not regions.foreground(0).any()
    assert regions.foreground(1).all()
    assert torch.equal(torch.stack([regions.foreground(0), regions.foreground(1)]), regions.full() > 0)
