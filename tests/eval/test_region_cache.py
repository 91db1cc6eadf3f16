"""What kept regions are known by: every setting that they depend on, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from eval.shared.region_cache import RegionCache
from textregion import Encoder, MaskGenerator, RegionMasks, RegionTokens, SegmenterOptions, TextRegionSegmenter
from textregion.runtime import Precision

IMAGE = np.zeros((8, 12, 3), np.uint8)
CHANGED: dict[str, Any] = {
    "resize_method": "resize",
    "square": "view",
    "scale": (300, 200),
    "crop_size": 48,
    "mask_size": "original",
    "mask_type": "hard",
    "pool_feature": "input",
}
"""Other values where the kind of the present one does not tell any."""
PAINTING = {"region_logit_scale", "prob_thd", "output_size"}
SPEED = {"points_per_batch", "view_batch"}


@pytest.fixture(scope="module")
def generator(sam2_model: nn.Module, tiny_options: SegmenterOptions) -> MaskGenerator:
    return MaskGenerator(sam2_model, tiny_options.replace(crop_size=96))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding costs nothing here: it is counted only."""

    def encode(segmenter: TextRegionSegmenter, image: np.ndarray) -> RegionTokens:
        masks = RegionMasks.from_masks(torch.ones(1, 2, 2), (8, 12))
        return RegionTokens(torch.eye(1, 64), masks, (8, 12), (8, 12), segmenter.encoder.name)

    monkeypatch.setattr(TextRegionSegmenter, "encode", encode)


def another(name: str, value: Any) -> Any:
    """A value of an option that is not the present one."""
    if name in CHANGED:
        return CHANGED[name]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 + 0.11


def count(segmenter: TextRegionSegmenter, folder: Path) -> tuple[int, int]:
    """How many pictures a new run encodes, and how many it takes from the folder."""
    path = folder / "a.png"
    Image.fromarray(IMAGE).save(path)
    cache = RegionCache(segmenter, folder / "cache")
    cache.encode(IMAGE, path)
    return cache.encoded, cache.reused


@pytest.mark.usefixtures("encoded")
@pytest.mark.parametrize("name", sorted(set(SegmenterOptions().as_dict()) - PAINTING - SPEED - {"uncovered"}))
def test_regions_of_other_options_are_made_anew(
    name: str, clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path
) -> None:
    options = generator.options
    assert count(TextRegionSegmenter(clip_encoder, generator, options), tmp_path) == (1, 0)
    changed = options.replace(**{name: another(name, getattr(options, name))})
    assert changed != options
    assert count(TextRegionSegmenter(clip_encoder, generator, changed), tmp_path) == (1, 0)
    assert count(TextRegionSegmenter(clip_encoder, generator, options), tmp_path) == (0, 1)


@pytest.mark.usefixtures("encoded")
def test_regions_serve_whatever_paints_them_differently(
    clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path
) -> None:
    options = generator.options
    assert count(TextRegionSegmenter(clip_encoder, generator, options), tmp_path) == (1, 0)
    for change in (
        {"region_logit_scale": 20.0},
        {"prob_thd": 0.5},
        {"output_size": "resized"},
        {"uncovered": "first"},
        {"points_per_batch": 7},
        {"view_batch": 3},
    ):
        assert count(TextRegionSegmenter(clip_encoder, generator, options.replace(**change)), tmp_path) == (0, 1)


@pytest.mark.usefixtures("encoded")
def test_regions_without_dense_patches_do_not_serve_who_paints_with_them(
    clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path
) -> None:
    dense = TextRegionSegmenter(clip_encoder, generator, generator.options.replace(uncovered="dense"))
    plain = TextRegionSegmenter(clip_encoder, generator, generator.options.replace(uncovered="first"))
    assert [count(segmenter, tmp_path) for segmenter in (plain, dense, plain, dense)] == [
        (1, 0),
        (1, 0),
        (0, 1),
        (0, 1),
    ]


@pytest.mark.usefixtures("encoded")
def test_regions_of_another_precision_or_model_are_made_anew(
    clip_encoder: Encoder, encoders: dict[str, Encoder], generator: MaskGenerator, tmp_path: Path
) -> None:
    plain = TextRegionSegmenter(clip_encoder, generator)
    rounded = TextRegionSegmenter(clip_encoder, generator, precision=Precision("bf16"))
    masks = TextRegionSegmenter(clip_encoder, MaskGenerator(generator.model, generator.options, Precision("bf16")))
    other = TextRegionSegmenter(encoders["pe"], generator, generator.options.replace(crop_size=None))
    pe = TextRegionSegmenter(clip_encoder, generator, generator.options.replace(crop_size=None))
    wide = copy.copy(clip_encoder)
    wide.crop_size = 192
    of_wide = TextRegionSegmenter(wide, generator, generator.options.replace(crop_size=None))
    for segmenter in (plain, rounded, masks, other, pe, of_wide):
        assert count(segmenter, tmp_path) == (1, 0)
    for segmenter in (plain, rounded, masks, other, pe, of_wide):
        assert count(segmenter, tmp_path) == (0, 1)


@pytest.mark.usefixtures("encoded")
def test_a_folder_that_cannot_be_written_is_a_warning(
    clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert count(TextRegionSegmenter(clip_encoder, generator), tmp_path) == (1, 0)
    assert "Regions are not kept, the run goes on without: " in caplog.text
    assert "is a file where a folder is wanted): move it away" in caplog.text


@pytest.mark.usefixtures("encoded")
def test_without_a_folder_nothing_is_kept(clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path) -> None:
    cache = RegionCache(TextRegionSegmenter(clip_encoder, generator))
    for _ in range(2):
        cache.encode(IMAGE, tmp_path / "a file that is not there")
    assert (cache.encoded, cache.reused) == (2, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("encoded")
def test_regions_of_a_picture_that_was_changed_are_made_anew(
    clip_encoder: Encoder, generator: MaskGenerator, tmp_path: Path
) -> None:
    segmenter = TextRegionSegmenter(clip_encoder, generator)
    assert count(segmenter, tmp_path) == (1, 0)
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE + 1).save(path)
    cache = RegionCache(segmenter, tmp_path / "cache")
    cache.encode(IMAGE, path)
    assert (cache.encoded, cache.reused) == (1, 0)
    cache.encode(IMAGE[:4], path)  # what lies there is of another size
    assert (cache.encoded, cache.reused) == (2, 0)
