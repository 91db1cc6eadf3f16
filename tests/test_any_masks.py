"""Whatever the masks are, the columns stay of one length, tokens of length 1, and every pixel gets a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from textregion import MaskGenerator, RegionMasks, RegionTokens, TextRegionSegmenter

from .conftest import FAMILIES, WEIGHTS

SCENE = np.array(Image.open(WEIGHTS.parent / "demo_clip" / "image.png").convert("RGB"))
SIZE_HW = (SCENE.shape[0], SCENE.shape[1])
WORDS = ["red circle", "green square", "blue star"]


def _changed(segmenter: TextRegionSegmenter, **options: object) -> TextRegionSegmenter:
    """The same models and words under other options."""
    return TextRegionSegmenter(
        segmenter.encoder, segmenter.mask_generator, segmenter.options.replace(**options), text=segmenter.text
    )


def _check(segmenter: TextRegionSegmenter, regions: RegionTokens, words: Sequence[str] = WORDS) -> None:
    """What holds for every picture, whatever its masks."""
    count = len(regions)
    columns = regions.tokens, regions.scores, regions.region_masks, regions.region_masks.stability
    assert {len(column) for column in columns} == {count}
    assert len(regions.boxes_xywh((20, 30))) == len(regions.masks((20, 30))) == count
    assert count > 0 or regions.dense is not None  # there is always something to tell words by
    torch.testing.assert_close(regions.tokens.norm(dim=1), torch.ones(count), atol=1e-4, rtol=0)
    boxes = regions.boxes_xywh((20, 30))
    assert bool((boxes >= 0).all()) and bool((boxes[:, :2] + boxes[:, 2:] <= torch.tensor([30, 20])).all())
    if regions.locality is not None:
        assert bool(regions.locality.isfinite().all())
    result = segmenter.segment(regions, words)
    assert result.scores.shape == (count, len(words)) and bool(result.scores.isfinite().all())
    assert result.labels.shape == result.confidence.shape == SIZE_HW
    assert int(result.labels.min()) >= 0 and int(result.labels.max()) < len(words)
    # not below the share of one among equals, and never NaN
    assert bool(((result.confidence >= 1 / len(words) - 1e-6) & (result.confidence <= 1)).all())


@st.composite
def any_masks(draw: st.DrawFn) -> RegionMasks:
    """Up to six regions of one to three rectangles each: specks, bands, wholes, nothing; soft, faint or hard."""
    side = draw(st.sampled_from([1, 7, 64, 256]))
    region_of, members = [], []
    for region in range(draw(st.integers(0, 6))):
        for _ in range(draw(st.integers(1, 3))):
            top, left = draw(st.integers(0, side - 1)), draw(st.integers(0, side - 1))
            height, width = draw(st.integers(0, side)), draw(st.integers(0, side))
            mask = torch.zeros(side, side)
            mask[top : top + height, left : left + width] = draw(st.sampled_from([2**-24, 0.01, 0.5, 1.0, 3.0]))
            region_of.append(region)
            members.append(mask)
    count = region_of[-1] + 1 if region_of else 0
    scores = torch.rand(2, count, generator=torch.Generator().manual_seed(side))
    logits = torch.stack(members).half() if members else torch.zeros(0, side, side).half()
    return RegionMasks(logits, torch.tensor(region_of, dtype=torch.int64), scores[0], scores[1], SIZE_HW)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(
    masks=any_masks(),
    hard=st.booleans(),
    threshold=st.sampled_from([None, -5.0, 0.0, 0.07, 5.0]),
    uncovered=st.sampled_from(["uniform", "first", "dense"]),
    words=st.integers(1, 3),
)
def test_any_masks_under_any_options(
    family: str,
    segmenters: dict[str, TextRegionSegmenter],
    masks: RegionMasks,
    hard: bool,
    threshold: float | None,
    uncovered: str,
    words: int,
) -> None:
    segmenter = _changed(
        segmenters[family],
        mask_type="hard" if hard else "soft",
        remove_global_patch=threshold is not None,
        global_patch_threshold=threshold or 0.0,
        uncovered=uncovered,
    )
    _check(segmenter, segmenter.encode(SCENE, masks), WORDS[:words])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_patch_filtered(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    masks = torch.zeros(3, 16, 16)
    masks[0, :8], masks[1, 8:], masks[2, 4:12, 4:12] = 1.0, 3.0, 0.5
    strict, off = (
        _changed(segmenters[family], **options)
        for options in ({"global_patch_threshold": 5.0}, {"remove_global_patch": False})
    )
    regions = strict.encode(SCENE, RegionMasks.from_masks(masks, SIZE_HW))
    _check(strict, regions)
    assert len(regions) == len(off.encode(SCENE, RegionMasks.from_masks(masks, SIZE_HW))) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_regions_that_the_filter_empties_leave_in_all_columns(
    family: str, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    masks = torch.zeros(24, 16, 16)
    for index in range(24):
        row, column = divmod(index, 6)
        masks[index, row * 4 : row * 4 + 3, column * 2 : column * 2 + 2] = 1.0
    everything = RegionMasks.from_masks(masks, SIZE_HW)
    marked = RegionMasks(
        everything.logits, everything.region_of, torch.arange(24.0) / 24, everything.stability, SIZE_HW
    )
    off = _changed(segmenters[family], remove_global_patch=False).encode(SCENE, marked)
    locality = _changed(segmenters[family], global_patch_threshold=-5.0).encode(SCENE, marked).locality
    assert locality is not None
    half = _changed(segmenters[family], global_patch_threshold=float(locality.flatten().quantile(0.9)))
    regions = half.encode(SCENE, marked)
    _check(half, regions)
    assert 0 < len(regions) < len(off) == 24
    # each score still stands beside its own mask
    for score, mask in zip(regions.scores.tolist(), regions.masks((16, 16))):
        assert torch.equal(mask, marked.full((16, 16))[round(score * 24)])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_thousand_regions_of_fused_members(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    masks = torch.zeros(1500, 64, 64, dtype=torch.float16)
    for index in range(1500):
        top, left = divmod(index * 37 % 3600, 60)
        masks[index, top : top + 5, left : left + 5] = 0.5 + index % 5 / 2
    region_of = torch.cat([torch.arange(500).repeat_interleave(2), torch.arange(500, 1000)])
    ones = torch.ones(1000)
    regions = segmenters[family].encode(SCENE, RegionMasks(masks, region_of, ones, ones, SIZE_HW))
    assert len(regions) > 500
    _check(segmenters[family], regions)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("kind", "options"), [("none kept", {"pred_iou_thresh": 1.0}), ("all fused", {})])
def test_what_the_mask_generator_makes(
    family: str, kind: str, options: dict[str, object], segmenters: dict[str, TextRegionSegmenter]
) -> None:
    plain = segmenters[family]
    fused = {"fuse_mask_threshold": 0.0, "fuse_box_iou": 0.0, "points_per_side": 4, **options}
    changed = plain.options.replace(**fused)
    segmenter = TextRegionSegmenter(
        plain.encoder, MaskGenerator(plain.mask_generator.model, changed), changed, text=plain.text
    )
    regions = segmenter.encode(SCENE)
    _check(segmenter, regions)
    members = len(regions.region_masks.logits)
    if kind == "none kept":
        assert (len(regions), members) == ((0, 0) if segmenter.encoder.has_dense else (1, 1))
    else:
        assert 0 < len(regions) < members


@settings(max_examples=15)
@given(masks=any_masks(), data=st.data())
def test_regions_can_be_picked_in_any_order(masks: RegionMasks, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(masks))))[: data.draw(st.integers(0, len(masks)))]
    picked = masks[torch.tensor(order, dtype=torch.int64)]
    assert len(picked) == len(picked.scores) == len(picked.stability) == len(order)
    assert torch.equal(picked.full((9, 9)), masks.full((9, 9))[order])
    assert picked.scores.tolist() == masks.scores[order].tolist()
