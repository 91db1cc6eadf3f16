"""An index without models: what stands for a picture is any file, and its regions come from its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import WordFeatures
from textregion import RegionIndex, RegionMasks, RegionTokens, SegmenterOptions, TextRegionSegmenter, UserError
from textregion.runtime import Precision

SIZE = 32
SIZE_HW = (40, 60)


def seed_of(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big")


def regions_of(content: bytes, encoder: str) -> RegionTokens:
    """Two to five random regions, the same for the same bytes."""
    random = torch.Generator().manual_seed(seed_of(content))
    count = int(torch.randint(2, 6, (1,), generator=random))
    tokens = F.normalize(torch.randn(count, SIZE, generator=random), dim=1)
    masks = torch.zeros(count, 16, 16)
    for region in range(count):
        top, left = torch.randint(0, 12, (2,), generator=random).tolist()
        height, width = torch.randint(2, 5, (2,), generator=random).tolist()
        masks[region, top : top + height, left : left + width] = 1.5
    return RegionTokens(tokens, RegionMasks.from_masks(masks, SIZE_HW), SIZE_HW, SIZE_HW, encoder)


class StubSegmenter(TextRegionSegmenter):
    """Encodes any bytes; those that begin with "bad" are no picture."""

    def __init__(self, name: str = "stub", sam2: str = "sam", **options: Any) -> None:
        self.encoder: Any = SimpleNamespace(name=name, crop_size=64, device=torch.device("cpu"))
        self.options = SegmenterOptions(**options)
        self.precision = Precision()
        self.mask_generator: Any = SimpleNamespace(precision=Precision())
        self.text: Any = StubText(name)
        self.encoded: list[str] = []
        self._sam2 = sam2

    @property
    def model_names(self) -> dict[str, str]:
        return {"encoder": self.encoder.name, "sam2": self._sam2}

    def encode(self, picture: Any, masks: RegionMasks | None = None) -> RegionTokens:
        content = Path(picture).read_bytes()
        if content.startswith(b"bad"):
            raise UserError(f"Picture {str(picture)!r} is damaged: save it again.")
        self.encoded.append(str(picture))
        regions = regions_of(content, self.encoder.name)
        if content.startswith(b"empty"):
            if masks is None:
                return regions[torch.zeros(len(regions), dtype=torch.bool)]
            return RegionTokens(regions.tokens[:1], masks, SIZE_HW, SIZE_HW, self.encoder.name)
        return regions


class StubText(WordFeatures):
    """A unit vector for every word."""

    def __init__(self, encoder_name: str) -> None:
        super().__init__(SIZE)
        self.encoder_name = encoder_name

    def encode(self, words: Sequence[str]) -> Tensor:
        return super().encode(list(words))


@pytest.fixture
def segmenter() -> StubSegmenter:
    return StubSegmenter()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six pictures in three folders."""
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png", "sea/c.png", "sea/d.jpg", "sea/far/e.png", "f.JPG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def index(tmp_path: Path, segmenter: StubSegmenter) -> RegionIndex:
    """An empty one."""
    return RegionIndex.create(tmp_path / "library.index", segmenter)
