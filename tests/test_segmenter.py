"""The whole way on tiny models: alignment, fallbacks, task options, invariants."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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
from textregion.checkpoints.digests import weights_digest
from textregion.image import resize, resized_hw
from textregion.painting import class_probabilities
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
@pytest.mark.parametrize("kind", ["none", "everything"])
def test_masks_at_the_edges(
    family: str, kind: str, segmenters: dict[str, TextRegionSegmenter], caplog: pytest.LogCaptureFixture
) -> None:
    masks = torch.full((1 if kind == "everything" else 0, 256, 256), 3.0)
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
        assert regions.source is None or len(regions.source) == 0
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


@pytest.mark.parametrize("square", ["picture", "view"])
def test_plain_resize_shows_sam2_the_square_or_the_fitted_picture(
    square: str, segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = segmenters["clip"]
    options = tiled.options.replace(resize_method="resize", square=square, crop_size=96, mask_size="original")
    plain = TextRegionSegmenter(tiled.encoder, tiled.mask_generator, options)
    seen: dict[str, object] = {}

    def generate(image: np.ndarray, output_hw: tuple[int, int], _: SegmenterOptions) -> RegionMasks:
        seen.update(sam2=image, masks_hw=output_hw)
        return scene_masks

    def patch_features(views: torch.Tensor, **settings: object) -> object:
        seen.update(views=views)
        return features(views, **settings)  # type: ignore[arg-type]

    features = tiled.encoder.patch_features
    monkeypatch.setattr(tiled.mask_generator, "generate", generate)
    monkeypatch.setattr(tiled.encoder, "patch_features", patch_features)
    regions = plain.encode(SCENE)
    assert seen["masks_hw"] == SCENE.shape[:2]
    size_hw = (96, 96) if square == "picture" else resized_hw(SCENE.shape[:2], (320, 208))
    assert size_hw == ((96, 96) if square == "picture" else (208, 312))
    np.testing.assert_array_equal(seen["sam2"], resize(SCENE, size_hw))
    assert regions.resized_hw == size_hw
    picture = torch.from_numpy(resize(SCENE, size_hw)).permute(2, 0, 1)[None].float() / 255
    one = F.interpolate(picture, (96, 96), mode="bicubic", align_corners=False, antialias=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in (tiled.encoder.preprocess.mean, tiled.encoder.preprocess.std))
    torch.testing.assert_close(seen["views"], (one - mean) / std)
    assert regions.locality is not None and regions.locality.shape == (6, 6)
    assert plain.segment(regions, WORDS).labels.shape == SCENE.shape[:2]


@pytest.mark.parametrize("family", FAMILIES)
def test_tiles_without_a_global_view(
    family: str, segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks, tmp_path: Path
) -> None:
    usual = segmenters[family]
    options = usual.options.replace(global_views=0, uncovered="dense")
    tiles = TextRegionSegmenter(usual.encoder, usual.mask_generator, options, text=usual.text)
    regions = tiles.encode(SCENE, scene_masks)
    _check(regions)
    assert regions.locality is not None
    assert regions.locality.shape == usual.encode(SCENE, scene_masks).locality.shape  # type: ignore[union-attr]
    regions.save(tmp_path / "regions")
    again = RegionTokens.load(tmp_path / "regions")
    assert torch.equal(tiles.segment(again, WORDS).labels, tiles.segment(regions, WORDS).labels)
    # A picture smaller than a tile has that one tile, which is what the whole picture alone is with plain resize.
    side = usual.options.crop_size or usual.encoder.crop_size
    plain = usual.options.replace(resize_method="resize", square="view", scale=(side, side), normalize_values=False)
    one = TextRegionSegmenter(usual.encoder, usual.mask_generator, plain)
    alone = TextRegionSegmenter(
        usual.encoder, usual.mask_generator, plain.replace(resize_method="multi_resolution", global_views=0)
    )
    torch.testing.assert_close(alone.encode(SCENE, scene_masks).tokens, one.encode(SCENE, scene_masks).tokens)


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


def test_many_pictures_are_encoded_one_by_one_in_order(segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter, taken = segmenters["pe"], []

    def pictures() -> Iterator[np.ndarray]:
        for size in (40, 60, 80):
            taken.append(size)
            yield SCENE[:size]

    many = segmenter.encode_many(pictures())
    assert taken == []
    first = next(many)
    assert (first.size_hw, taken) == ((40, SCENE.shape[1]), [40, 60])  # the next one is being read
    assert torch.equal(first.tokens, segmenter.encode(SCENE[:40]).tokens)
    assert [regions.size_hw[0] for regions in many] == [60, 80]
    batch = np.stack([SCENE[:40], SCENE[1:41]])
    assert [len(regions) > 0 for regions in segmenter.encode_many(torch.from_numpy(batch))] == [True, True]
    assert list(segmenter.encode_many([])) == []


def test_a_bad_picture_among_many_is_answered_at_its_turn(segmenters: dict[str, TextRegionSegmenter]) -> None:
    many = segmenters["pe"].encode_many([SCENE[:40], "none.png", SCENE[:40]])
    assert len(next(many)) > 0
    with pytest.raises(UserError, match=r"none\.png"):
        next(many)


@pytest.mark.parametrize(
    "one", ["scene.png", b"bytes", SCENE, torch.from_numpy(SCENE), Image.fromarray(SCENE), None, 3]
)
def test_one_picture_is_no_list_of_pictures(one: Any, segmenters: dict[str, TextRegionSegmenter]) -> None:
    with pytest.raises(UserError, match="encode_many takes a list of pictures") as caught:
        segmenters["pe"].encode_many(one)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("several", [["a.png", "b.png"], (SCENE, SCENE), iter([SCENE]), SCENE[None], {"a.png": 1}])
def test_several_pictures_are_no_picture(several: Any, segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = segmenters["pe"]
    for take in (segmenter.encode, lambda pictures: segmenter.segment(pictures, WORDS)):
        with pytest.raises(UserError, match=r"One picture .* encode_many") as caught:
            take(several)
        assert "\n" not in str(caught.value)


def test_words_are_looked_at_before_the_picture(segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = segmenters["clip"]
    for words in ("dog", [], [3], {"dog"}):
        with pytest.raises(UserError, match="word"):
            segmenter.segment("no such picture.png", words)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a class for each of the 3 words, but has 2"):
        segmenter.segment("no such picture.png", WORDS, [0, 1])
    with pytest.raises(UserError, match="encode the picture first"):
        segmenter.scores("no such picture.png", WORDS)  # type: ignore[arg-type]


def test_a_picture_in_every_form_is_segmented_alike(segmenters: dict[str, TextRegionSegmenter], tmp_path: Path) -> None:
    segmenter, path = segmenters["clip"], tmp_path / "scene.png"
    Image.fromarray(SCENE).save(path)
    forms: dict[str, Any] = {
        "path": path,
        "bytes": path.read_bytes(),
        "stream": io.BytesIO(path.read_bytes()),
        "floats": SCENE / 255,
        "torchvision": torch.from_numpy(SCENE).permute(2, 0, 1) / 255,
    }
    masks = np.zeros((2, *SCENE.shape[:2]), bool)
    masks[0, :100], masks[1, 100:] = True, True
    expected = segmenter.encode(SCENE, masks)
    for name, picture in forms.items():
        assert torch.equal(segmenter.encode(picture, list(masks)).tokens, expected.tokens), name
    labels = segmenter.segment(SCENE, WORDS).labels
    assert torch.equal(segmenter.segment(forms["torchvision"], tuple(WORDS)).labels, labels)


def test_views_in_small_batches_give_the_same(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    whole = segmenters["clip"]
    parts = TextRegionSegmenter(whole.encoder, whole.mask_generator, whole.options.replace(view_batch=2))
    torch.testing.assert_close(
        parts.encode(SCENE, scene_masks).tokens, whole.encode(SCENE, scene_masks).tokens, atol=1e-5, rtol=0
    )


def test_antialiasing_of_the_views_is_an_option(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    usual = segmenters["clip"]
    sampled = TextRegionSegmenter(usual.encoder, usual.mask_generator, usual.options.replace(antialias=False))
    one, other = (each.encode(SCENE, scene_masks).tokens for each in (usual, sampled))
    assert 0.5 < float((one * other).sum(1).min()) < 0.9999


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


def _with(plain: TextRegionSegmenter, **changes: Any) -> TextRegionSegmenter:
    """The same models under changed options."""
    return TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options.replace(**changes))


def test_the_parts_of_a_segmenter_follow_one_another_where_they_are_not_given(
    segmenters: dict[str, TextRegionSegmenter], tiny_options: SegmenterOptions
) -> None:
    plain = segmenters["clip"]
    generator = MaskGenerator(plain.mask_generator.model, tiny_options.replace(crop_size=96))
    segmenter = TextRegionSegmenter(plain.encoder, generator, precision=Precision("bf16"))
    assert segmenter.options == generator.options
    assert segmenter.text._precision == Precision("bf16")
    assert TextRegionSegmenter(plain.encoder, generator).precision == Precision()
    assert set(segmenter.model_names) == {"encoder", "sam2"}
    assert segmenter.model_names["encoder"] == plain.encoder.name
    assert segmenter.model_names["sam2"] != weights_digest(torch.nn.Linear(2, 2))


def test_the_segmenters_options_and_not_the_generators_rule_the_masks(
    segmenters: dict[str, TextRegionSegmenter], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def generate(self: MaskGenerator, image: np.ndarray, output_hw: tuple[int, int], options: Any) -> RegionMasks:
        asked.append((image.shape[:2], output_hw, options))
        return RegionMasks.from_masks(torch.ones(1, 4, 4), output_hw)

    monkeypatch.setattr(MaskGenerator, "generate", generate)
    picture = SCENE[:100]  # 100 x 300 pixels: fitted into 320 x 208 it is 107 x 320
    for mask_size, expected in (("resized", (107, 320)), ("original", (100, 300))):
        segmenter = _with(segmenters["clip"], mask_size=mask_size, min_size=3)
        regions = segmenter.encode(picture)
        assert asked.pop() == ((107, 320), expected, segmenter.options)
        assert (regions.size_hw, regions.resized_hw) == ((100, 300), (107, 320))
        assert regions.region_masks.output_hw == expected
        assert segmenter.segment(regions, WORDS).labels.shape == (100, 300)
        painted = _with(segmenters["clip"], mask_size=mask_size, output_size="resized")
        assert painted.segment(regions, WORDS).labels.shape == expected


def test_dense_patches_are_made_where_they_are_painted_with(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    plain = segmenters["clip"]
    for uncovered, expected in (("uniform", False), ("first", False), ("dense", True)):
        regions = _with(plain, uncovered=uncovered).encode(SCENE, scene_masks)
        assert (regions.dense is not None) == expected
    assert regions.dense is not None
    assert regions.dense.embeddings.shape == (1 + 2 * 3, 64, 6, 6)
    assert regions.dense.plan.grid_hw == (12, 18)
    assert _with(segmenters["pe"], uncovered="dense").encode(SCENE, scene_masks).dense is None


def test_what_stands_where_no_region_is(segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks) -> None:
    plain = segmenters["clip"]
    regions = plain.encode(SCENE, scene_masks)
    dense = _with(plain, uncovered="dense").encode(SCENE, scene_masks)
    none = dense[torch.zeros(len(dense), dtype=torch.bool)]

    def rule(uncovered: Any, of: RegionTokens) -> str:
        return _with(plain, uncovered=uncovered).paint_rules(of, WORDS).uncovered

    assert [rule(name, dense) for name in ("uniform", "first", "dense")] == ["uniform", "first", "dense"]
    assert [rule(name, none) for name in ("uniform", "first", "dense")] == ["dense"] * 3
    assert [rule(name, regions) for name in ("uniform", "first", "dense")] == ["uniform", "first", "uniform"]
    rules = _with(plain, uncovered="dense").paint_rules(dense, WORDS, [0, 0, 1])
    assert (rules.class_of, rules.mask_type, rules.scale, rules.prob_thd) == ([0, 0, 1], "soft", 50.0, 0.0)
    assert rules.dense is not None
    assert dense.dense is not None
    assert rules.dense.grid.shape == (3, 12, 18)
    # views are fused with weight 1: the upsampled whole plus the first tile, in the top left corner of the grid
    text = plain.text.encode(WORDS)
    maps = torch.einsum("vdyx,kd->vkyx", dense.dense.embeddings, text)
    whole = torch.nn.functional.interpolate(maps[:1], (12, 18), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(rules.dense.grid[:, :6, :6], whole[:, :6, :6] + maps[1])
    strict = _with(plain, mask_type="hard", region_logit_scale=7.0, prob_thd=0.5).paint_rules(regions, WORDS)
    assert (strict.class_of, strict.mask_type, strict.scale, strict.prob_thd) == (None, "hard", 7.0, 0.5)


@pytest.mark.parametrize("feature", ["input", "output"])
def test_other_features_are_pooled_and_projected_as_such(
    feature: Any, segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks
) -> None:
    plain = segmenters["clip"]
    values = plain.encode(SCENE, scene_masks).tokens
    tokens = _with(plain, pool_feature=feature).encode(SCENE, scene_masks).tokens
    without_mlp = _with(plain, pool_mlp=False).encode(SCENE, scene_masks).tokens
    assert float((tokens - values).abs().max()) > 0.05
    assert float((without_mlp - values).abs().max()) > 0.01
    again = _with(plain, pool_feature=feature, pool_mlp=False).encode(SCENE, scene_masks).tokens
    assert torch.equal(again, tokens)  # the MLP belongs to values alone


def test_hard_masks_pool_every_patch_that_they_touch_alike(segmenters: dict[str, TextRegionSegmenter]) -> None:
    masks = torch.zeros(1, 16, 16)
    masks[0, :7, :7] = 0.3
    soft, strong = (RegionMasks.from_masks(masks * factor, SCENE.shape[:2]) for factor in (1, 10))
    hard = _with(segmenters["clip"], mask_type="hard", remove_global_patch=False)
    assert torch.equal(hard.encode(SCENE, soft).tokens, hard.encode(SCENE, strong).tokens)
    plain = _with(segmenters["clip"], remove_global_patch=False)
    assert not torch.equal(plain.encode(SCENE, soft).tokens, plain.encode(SCENE, strong).tokens)


def test_views_are_normalised_as_their_encoder_was_trained(segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = segmenters["clip"]
    plan = segmenter._plan((208, 312))
    assert (plan.rows, plan.cols, plan.view_patches) == (2, 3, 6)
    views = segmenter._views(np.full((208, 312, 3), [255, 0, 51], np.uint8), plan)
    assert views.shape == (7, 3, 96, 96)
    recipe = segmenter.encoder.preprocess
    for channel, value in enumerate((1.0, 0.0, 0.2)):
        expected = (value - recipe.mean[channel]) / recipe.std[channel]
        torch.testing.assert_close(views[:, channel], torch.full((7, 96, 96), expected), atol=1e-4, rtol=0)
    up = _with(segmenter, upsample_times=2, global_views=2, crop_size=48)._plan((208, 312))
    assert (up.rows, up.cols, up.view_patches, len(up.global_boxes)) == (4, 6, 6, 2)
    assert _with(segmenter, resize_method="resize")._plan((96, 96)).tile_boxes == ()


def test_as_many_views_pass_at_a_time_as_were_asked_for_or_fit(
    segmenters: dict[str, TextRegionSegmenter], scene_masks: RegionMasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encoder = segmenters["clip"].encoder
    original = encoder.patch_features

    def watched(views: torch.Tensor, **how: Any) -> Any:
        sizes.append(len(views))
        return original(views, **how)

    monkeypatch.setattr(encoder, "patch_features", watched)
    _with(segmenters["clip"], view_batch=3).encode(SCENE, scene_masks)
    _with(segmenters["clip"]).encode(SCENE, scene_masks)
    assert sizes == [3, 3, 1, 7]
    sizes.clear()
    # a view has 37 tokens of 128 channels, of which twelve copies of 4 bytes are held
    monkeypatch.setattr("textregion.segmenter.VIEW_BYTES", 2 * 37 * 128 * 12 * 4)
    _with(segmenters["clip"]).encode(SCENE, scene_masks)
    assert sizes == [2, 2, 2, 1]
    sizes.clear()
    monkeypatch.setattr("textregion.segmenter.VIEW_BYTES", 1)
    _with(segmenters["clip"]).encode(SCENE, scene_masks)
    assert sizes == [1] * 7


@pytest.mark.parametrize("uncovered", ["uniform", "first", "dense"])
@pytest.mark.parametrize(("family", "mask_type"), [("clip", "soft"), ("pe", "hard")])
def test_every_tensor_is_made_on_the_models_device(
    family: str, mask_type: Any, uncovered: Any, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    """A tensor that is made without its device would lie on another one here, as it would beside models on a GPU."""
    changes = {"mask_type": mask_type, "uncovered": uncovered, "prob_thd": 0.4}
    segmenter = _with(segmenters[family], **changes)
    expected = segmenter.segment(SCENE, WORDS, [0, 0, 1])  # remembers the words: tokenizers know no device
    with torch.device("meta"):
        regions = segmenter.encode(SCENE)
        result = segmenter.segment(regions, WORDS, [0, 0, 1])
        empty = segmenter.encode(SCENE, RegionMasks.from_masks(torch.zeros(0, 8, 8, device="cpu"), (32, 48)))
        parts = [regions.masks((9, 9)), regions.foreground(0), regions.to("cpu").tokens, empty.tokens]
        parts += [band for _, band in class_probabilities(regions.region_masks, result.scores, (20, 30))]
    assert torch.equal(result.labels, expected.labels)
    assert {part.device.type for part in parts} == {"cpu"}
