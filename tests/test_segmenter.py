"""The whole way on tiny models: alignment, fallbacks, task options, invariants."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from textregion import (
    Encoder,
    MaskGenerator,
    RegionMasks,
    RegionTokens,
    SegmenterOptions,
    TextRegionSegmenter,
    UserError,
)
from textregion.runtime import Precision, StageClock, resolve_device

from .conftest import FAMILIES, WEIGHTS

SCENE = np.array(Image.open(WEIGHTS.parent / "demo_clip" / "image.png").convert("RGB"))
WORDS = ["red circle", "green square", "blue star"]


def _check(regions: RegionTokens) -> None:
    count = len(regions)
    assert len(regions.tokens) == len(regions.scores) == len(regions.masks((8, 8))) == count
    assert len(regions.boxes_xywh()) == count
    torch.testing.assert_close(regions.tokens.norm(dim=1), torch.ones(count), atol=1e-4, rtol=0)
    assert not bool(regions.tokens.isnan().any())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_encoded_once_and_asked_often(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = segmenters[family]
    regions = segmenter.encode(SCENE)
    _check(regions)
    assert len(regions) > 1
    assert regions.size_hw == SCENE.shape[:2]
    result = segmenter.segment(regions, WORDS)
    assert result.labels.shape == result.confidence.shape == SCENE.shape[:2]
    assert result.scores.shape == (len(regions), 3)
    again = segmenter.segment(SCENE, WORDS)
    assert torch.equal(result.labels, again.labels)
    assert torch.equal(result.confidence, again.confidence)


@pytest.fixture(scope="module")
def scene_masks(segmenters: dict[str, TextRegionSegmenter]) -> RegionMasks:
    """SAM 2's masks of the scene, made once."""
    return segmenters["clip"].encode(SCENE).region_masks


@pytest.mark.parametrize("family", FAMILIES)
def test_words_in_another_order_and_regions_in_another_order(
    family: str, segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    segmenter = segmenters[family]
    regions = segmenter.encode(SCENE, scene_masks)
    scores = segmenter.scores(regions, WORDS)
    torch.testing.assert_close(segmenter.scores(regions, WORDS[::-1]), scores.flip(1))
    order = torch.randperm(len(regions), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(segmenter.scores(regions[order], WORDS), scores[order])
    covered = (regions.masks() > 0).any(0)
    labels = segmenter.segment(regions, WORDS).labels
    turned = 2 - segmenter.segment(regions, WORDS[::-1]).labels
    assert float((labels == turned)[covered].float().mean()) > 0.99


@settings(max_examples=8)
@given(st.permutations(range(4)))
def test_given_masks_in_another_order_give_tokens_in_that_order(
    segmenters: dict[str, TextRegionSegmenter], order: list[int]
) -> None:
    masks = torch.zeros(4, 16, 16)
    masks[0, :6], masks[1, 8:, :8], masks[2, 4:12, 4:12], masks[3, :, 12:] = 1.0, 1.0, 1.0, 1.0
    encode = segmenters["clip"].encode
    plain = encode(SCENE, RegionMasks.from_masks(masks, (208, 312)))
    turned = encode(SCENE, RegionMasks.from_masks(masks[order], (208, 312)))
    assert len(plain) == 4
    torch.testing.assert_close(turned.tokens, plain.tokens[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["none", "smaller than a patch", "everything"])
def test_masks_at_the_edges(
    family: str, kind: str, segmenters: dict[str, TextRegionSegmenter], caplog: pytest.LogCaptureFixture
) -> None:
    masks = torch.zeros({"none": 0}.get(kind, 1), 256, 256)
    if kind == "smaller than a patch":
        masks[0, 0, 0] = 1.0
    elif kind == "everything":
        masks[0] = 3.0
    with caplog.at_level(logging.WARNING, "textregion.segmenter"):
        regions = segmenters[family].encode(SCENE, RegionMasks.from_masks(masks, SCENE.shape[:2]))
    _check(regions)
    result = segmenters[family].segment(regions, WORDS)
    assert result.labels.shape == SCENE.shape[:2]
    if kind == "everything":
        assert len(regions) == 1
        assert not caplog.records
    else:
        assert "No region was found" in caplog.text
        assert (len(regions), regions.dense is not None) == ((0, True) if family == "clip" else (1, False))
        # either way the picture has labels that come from its content
        assert len(result.labels.unique()) >= 1
        assert float(result.confidence.max()) > 1 / 3


def test_the_filter_never_leaves_nothing(segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks) -> None:
    plain = segmenters["clip"]
    strict = TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options.replace(global_patch_threshold=5.0))
    off = TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options.replace(remove_global_patch=False))
    regions = strict.encode(SCENE, scene_masks)
    _check(regions)
    assert len(regions) == len(off.encode(SCENE, scene_masks)) > 1
    assert off.encode(SCENE, scene_masks).locality is None
    assert regions.locality is not None
    assert regions.locality.shape == (12, 18)


def test_regions_of_another_encoder_are_refused(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    regions = segmenters["clip"].encode(SCENE, scene_masks)
    with pytest.raises(UserError, match="encode the picture again"):
        segmenters["pe"].scores(regions, WORDS)


def test_crop_sizes_that_do_not_fit(encoders: dict[str, Encoder], segmenters: dict[str, TextRegionSegmenter]) -> None:
    generator = segmenters["clip"].mask_generator
    with pytest.raises(UserError, match="multiple of the encoder's patch size 16"):
        TextRegionSegmenter(encoders["clip"], generator, SegmenterOptions(crop_size=100))
    with pytest.raises(UserError, match="96 x 96 pixels only"):
        TextRegionSegmenter(encoders["siglip2"], generator, SegmenterOptions(crop_size=112))


def test_plain_resize_uses_one_view(segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks) -> None:
    tiled = segmenters["clip"]
    plain = TextRegionSegmenter(
        tiled.encoder, tiled.mask_generator, tiled.options.replace(resize_method="resize", crop_size=96)
    )
    regions = plain.encode(SCENE, scene_masks)
    assert regions.resized_hw == (96, 96)
    assert regions.locality is not None
    assert regions.locality.shape == (6, 6)
    assert plain.segment(regions, WORDS).labels.shape == SCENE.shape[:2]


@pytest.mark.parametrize(
    ("resize_method", "remove_global_patch", "normalised"),
    [("multi_resolution", True, True), ("multi_resolution", False, False), ("resize", True, False)],
)
def test_values_are_normalised_with_tiles_and_the_filter_alone(
    resize_method: Any,
    remove_global_patch: bool,
    normalised: bool,
    segmenters: dict[str, TextRegionSegmenter],
    scene_masks: RegionMasks,
) -> None:
    plain = segmenters["clip"]
    options = plain.options.replace(resize_method=resize_method, remove_global_patch=remove_global_patch)
    with_it, without = (
        TextRegionSegmenter(plain.encoder, plain.mask_generator, options.replace(normalize_values=wanted))
        for wanted in (True, False)
    )
    same = torch.equal(with_it.encode(SCENE, scene_masks).tokens, without.encode(SCENE, scene_masks).tokens)
    assert same == (not normalised)


def test_mean_pooled_values_are_never_normalised(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    plain = segmenters["pe"]
    raw = TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options.replace(normalize_values=False))
    assert plain.options.normalize_values
    assert torch.equal(plain.encode(SCENE, scene_masks).tokens, raw.encode(SCENE, scene_masks).tokens)


def test_views_in_small_batches_give_the_same(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    whole = segmenters["clip"]
    parts = TextRegionSegmenter(whole.encoder, whole.mask_generator, whole.options.replace(view_batch=2))
    torch.testing.assert_close(
        parts.encode(SCENE, scene_masks).tokens, whole.encode(SCENE, scene_masks).tokens, atol=1e-5, rtol=0
    )


def test_the_output_size_is_the_pictures_or_the_methods(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    plain = segmenters["clip"]
    resized = TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options.replace(output_size="resized"))
    regions = plain.encode(SCENE, scene_masks)
    small = resized.segment(regions, WORDS).labels
    large = plain.segment(regions, WORDS).labels
    assert small.shape == regions.resized_hw
    rows = (torch.arange(large.shape[0]) * small.shape[0] / large.shape[0]).long()
    cols = (torch.arange(large.shape[1]) * small.shape[1] / large.shape[1]).long()
    assert torch.equal(large, small[rows][:, cols])


def test_bf16_stays_close_and_the_clock_names_every_stage(segmenters: dict[str, TextRegionSegmenter]) -> None:
    plain = segmenters["clip"]
    clock = StageClock()
    precise = plain.encode(SCENE)
    generator = MaskGenerator(plain.mask_generator.model, plain.options, Precision("bf16"))
    half = TextRegionSegmenter(plain.encoder, generator, plain.options, precision=Precision("bf16"), clock=clock)
    masks = precise.region_masks
    assert float((half.encode(SCENE, masks).tokens * precise.tokens).sum(1).min()) > 0.99
    half.segment(SCENE, WORDS)
    assert set(clock.seconds) == {"masks", "image tower", "pooling", "text", "scores", "painting"}
    assert all(seconds >= 0 for seconds in clock.seconds.values())


def test_devices_are_named_or_found() -> None:
    device, reason = resolve_device("cpu")
    assert (device.type, reason) == ("cpu", "asked for")
    with pytest.raises(UserError, match="Unknown device"):
        resolve_device("gpu")
    with pytest.raises(UserError, match="not supported"):
        resolve_device("meta")
    with pytest.raises(UserError, match="cuda"):
        resolve_device("cuda:99")
    with pytest.raises(UserError, match="fp32 or bf16"):
        Precision("fp16")  # type: ignore[arg-type]
