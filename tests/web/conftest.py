"""The page's server around the tiny models, asked without a network."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra textregion[web] is not installed")

from starlette.testclient import TestClient

from textregion import MaskGenerator, RegionIndex, SegmenterOptions, TextRegionSegmenter
from textregion.encoders import Encoder
from textregion.web import create_app, find_pictures

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def quick_segmenter(clip_encoder: Encoder, sam2_model: Any, tiny_options: SegmenterOptions) -> TextRegionSegmenter:
    """The tiny CLIP and SAM 2 at a small scale."""
    options = tiny_options.replace(crop_size=96, scale=(96, 64), points_per_side=8, fuse_mask=False)
    return TextRegionSegmenter(clip_encoder, MaskGenerator(sam2_model, options), options)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures below it, and with what is none of the page's business."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    for number, name in enumerate(("a.png", "deep/b ü.png", "deep/c.png", ".hidden.png")):
        Image.fromarray(noise(number)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, quick_segmenter: TextRegionSegmenter) -> Path:
    """A folder with nine ``photos`` and their ``index``."""
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "photos").mkdir()
    for number in range(9):
        Image.fromarray(noise(20 + number)).save(folder / "photos" / f"{number}.png")
    RegionIndex.create(folder / "index", quick_segmenter).add(folder / "photos")
    return folder


@pytest.fixture
def client(quick_segmenter: TextRegionSegmenter, photos: Path) -> Iterator[TestClient]:
    """A client of a server of those pictures."""
    app = create_app(quick_segmenter, find_pictures([photos]), words=["dog", "grass"])
    with TestClient(app, base_url="http://127.0.0.1:8765") as opened:
        yield opened


def noise(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray[Any, Any]:
    """(H, W, 3) uint8."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def png_of(array: np.ndarray[Any, Any]) -> bytes:
    """A PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def first_id(client: TestClient) -> str:
    """Id of the first picture."""
    return str(client.get("/api/pictures").json()["pictures"][0]["id"])


def encoded(client: TestClient, id: str) -> str:
    """The id, once the picture is ready."""
    report = client.post(f"/api/pictures/{id}/encoding").json()
    until = time.monotonic() + 60
    while report["state"] not in ("ready", "failed") and time.monotonic() < until:
        report = client.get(f"/api/pictures/{id}").json()
    assert report["state"] == "ready", report
    return id
