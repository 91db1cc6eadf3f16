"""What many tests share: the tiny models, loaded once, and hypothesis without a deadline."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import settings
from torch import Tensor, nn

from tests.parity.tiny_models import tiny_encoder, tiny_sam2
from textregion import Encoder, MaskGenerator, SegmenterOptions, TextRegionSegmenter, cli
from textregion.templates import IMAGENET

WEIGHTS = Path(__file__).parent / "parity" / "weights"
FAMILIES = ("clip", "siglip2", "pe")

settings.register_profile("textregion", deadline=None, max_examples=25)
settings.load_profile("textregion")


@pytest.fixture(scope="session")
def sam2_model() -> nn.Module:
    """``sam2_tiny``."""
    return tiny_sam2(WEIGHTS)


@pytest.fixture(scope="session")
def encoders() -> dict[str, Encoder]:
    """The tiny encoder of every family."""
    return {family: tiny_encoder(family, WEIGHTS) for family in FAMILIES}


@pytest.fixture(scope="session")
def clip_encoder(encoders: dict[str, Encoder]) -> Encoder:
    """``clip_tiny`` at its own input size."""
    return encoders["clip"]


@pytest.fixture(scope="session")
def tiny_options() -> SegmenterOptions:
    """Settings under which the tiny SAM 2 finds about ten regions in a small picture."""
    return SegmenterOptions(
        scale=(320, 208),
        points_per_side=8,
        pred_iou_thresh=0.2,
        stability_score_thresh=0.3,
        min_size=20,
        fuse_mask_threshold=0.95,
    )


class WordFeatures:
    """A unit vector for every word, in the place of a text tower (siglip2_tiny has none of its own size)."""

    templates = IMAGENET

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, words: list[str]) -> Tensor:
        """(K, D)."""
        seeds = [torch.Generator().manual_seed(zlib.crc32(word.encode())) for word in words]
        return F.normalize(torch.stack([torch.randn(self.size, generator=seed) for seed in seeds]), dim=1)


@pytest.fixture(scope="session")
def segmenters(
    encoders: dict[str, Encoder], sam2_model: nn.Module, tiny_options: SegmenterOptions
) -> dict[str, TextRegionSegmenter]:
    """A segmenter of every family around the same tiny SAM 2."""
    generator = MaskGenerator(sam2_model, tiny_options)
    crop = {"clip": 96, "siglip2": None, "pe": None}
    built = {
        family: TextRegionSegmenter(encoder, generator, tiny_options.replace(crop_size=crop[family]))
        for family, encoder in encoders.items()
    }
    built["siglip2"].text = WordFeatures(encoders["siglip2"].embed_dim)  # type: ignore[assignment]
    return built


@pytest.fixture(scope="module")
def quick_demo(clip_encoder: Encoder, sam2_model: nn.Module, tiny_options: SegmenterOptions) -> Iterator[None]:
    """The demo's models are the tiny ones at a small scale, made once."""
    options = tiny_options.replace(crop_size=96, scale=(96, 64), points_per_side=4)
    segmenter = TextRegionSegmenter(clip_encoder, MaskGenerator(sam2_model, options), options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "load_segmenter", lambda *args, **settings: segmenter)
        yield


@pytest.fixture
def ctrl_c_heard() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so would all that is started from there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
