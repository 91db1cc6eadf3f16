"""CUDA and Apple's backend, played on a CPU: all that comes of a picture is made there, and is the same."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests.conftest import FAMILIES, WEIGHTS, WordFeatures
from tests.played_device import played
from textregion import MaskGenerator, RegionIndex, RegionMasks, RegionTokens, TextRegionSegmenter, runtime
from textregion.export import label_map_png
from textregion.painting import class_probabilities
from textregion.runtime import Precision, StageClock, first_max
from textregion.templates import BUILT_IN
from textregion.text import TextBank
from textregion.visualize import locality_map, overlay, word_colours

SCENE = np.array(Image.open(WEIGHTS.parent / "demo_clip" / "image.png").convert("RGB"))[::2, ::2]
SMALL: dict[str, Any] = {"scale": (224, 112), "points_per_side": 4}
WORDS = ["red circle", "green square", "blue star"]
DEVICES = ("cuda", "mps")


class FeaturesThere(WordFeatures):
    """Unit vectors of words, on a device."""

    def __init__(self, size: int, device: torch.device) -> None:
        super().__init__(size)
        self.device = device

    def encode(self, words: list[str]) -> Tensor:
        return super().encode(words).to(self.device)


def _moved(
    segmenter: TextRegionSegmenter, device: torch.device | str, precision: Precision | None = None, **options: Any
) -> TextRegionSegmenter:
    """The same models on a device, under other options."""
    own: Any = segmenter.encoder
    tokenizer = own._text._tokenizer  # it is large, and lies nowhere
    encoder, sam2 = copy.deepcopy((own, segmenter.mask_generator.model), {id(tokenizer): tokenizer})
    encoder._text._model.to(device)
    chosen = segmenter.options.replace(**{**SMALL, **options})
    generator = MaskGenerator(sam2.to(device), chosen, precision)
    moved = TextRegionSegmenter(encoder, generator, chosen, precision=precision, clock=StageClock())
    moved.text = FeaturesThere(encoder.embed_dim, torch.device(device))  # type: ignore[assignment]
    return moved


def _masks() -> np.ndarray:
    """A band, a speck between the centres of patches, everything."""
    masks = np.zeros((3, *SCENE.shape[:2]), bool)
    masks[0, :30], masks[1, 48:50, 80:82], masks[2] = True, True, True
    return masks


def _products(segmenter: TextRegionSegmenter, folder: Path) -> dict[str, Any]:
    """All that comes of a picture, on the CPU; tensors are seen to lie where the models are."""
    device = segmenter.encoder.device.type
    regions = segmenter.encode(SCENE)
    result = segmenter.segment(regions, WORDS, [0, 0, 1])
    given = segmenter.encode(SCENE, _masks())
    rules = segmenter.paint_rules(regions, WORDS)
    bands = class_probabilities(regions.region_masks, result.scores, (30, 40), rules)
    regions.save(folder / "regions.safetensors")
    tensors = {
        "tokens": regions.tokens,
        "labels": result.labels,
        "confidence": result.confidence,
        "scores": result.scores,
        "masks": regions.masks((50, 60)),
        "foreground": regions.foreground(0),
        "picked": regions[-1].masks((9, 9)),
        "given tokens": given.tokens,
        "given masks": given.masks((20, 30)),
        "probabilities": torch.cat([band for _, band in bands], dim=1),
        "again": segmenter.segment(RegionTokens.load(folder / "regions.safetensors"), WORDS).labels,
        "few": segmenter.segment(SCENE[:40], WORDS).labels,
    }
    for name, tensor in tensors.items():
        assert tensor.device.type == device, name
    files = {
        "png": label_map_png(result.labels, word_colours(WORDS)),
        "json": json.dumps(regions.to_coco(result.scores, WORDS)),
        "boxes": regions.boxes_xywh().tolist(),
    }
    return {name: tensor.cpu() for name, tensor in tensors.items()} | files


OPTIONS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "hard": {"mask_type": "hard", "uncovered": "first", "prob_thd": 0.4, "upsample_times": 2},
    "semantic": {"mask_size": "original", "uncovered": "dense", "remove_global_patch": False},
}


@pytest.mark.parametrize(
    ("family", "options"),
    [*((family, "as they are") for family in FAMILIES), ("clip", "hard"), ("clip", "semantic"), ("pe", "semantic")],
)
@pytest.mark.parametrize("name", DEVICES)
def test_all_that_comes_of_a_picture_is_the_same(
    name: str, family: str, options: str, segmenters: dict[str, TextRegionSegmenter], tmp_path: Path
) -> None:
    expected = _products(_moved(segmenters[family], "cpu", **OPTIONS[options]), tmp_path)
    with played(name) as device:
        found = _products(_moved(segmenters[family], device, **OPTIONS[options]), tmp_path)
    assert list(found) == list(expected)
    for kind, value in expected.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(found[kind], value, atol=1e-5, rtol=0, msg=kind)
        else:
            assert found[kind] == value, kind


def test_pictures_to_look_at_are_the_same(segmenters: dict[str, TextRegionSegmenter]) -> None:
    drawn = []
    for device in ("cpu", "mps"):
        with played("mps"):
            segmenter = _moved(segmenters["clip"], device)
            regions = segmenter.encode(SCENE)
            assert regions.locality is not None
            labels = segmenter.segment(regions, WORDS).labels
            drawn.append((overlay(SCENE, labels, WORDS), locality_map(SCENE, regions.locality, 0.07)))
    for here, there in zip(*drawn):
        np.testing.assert_array_equal(np.asarray(there), np.asarray(here))


@pytest.mark.parametrize("name", DEVICES)
def test_regions_made_there_are_indexed_and_found(
    name: str, segmenters: dict[str, TextRegionSegmenter], tmp_path: Path
) -> None:
    Image.fromarray(SCENE).save(tmp_path / "scene.png")
    found = {}
    for device in ("cpu", name):
        with played(name):
            index = RegionIndex.create(tmp_path / device, _moved(segmenters["clip"], device))
            index.add([tmp_path / "scene.png"])
            found[device] = [(hit.region, round(hit.score, 4)) for hit in index.search("red circle")]
    assert found[name] == found["cpu"]
    assert len(found[name]) > 0


def test_masks_and_models_on_different_devices(segmenters: dict[str, TextRegionSegmenter]) -> None:
    here = _moved(segmenters["clip"], "cpu")
    expected = here.encode(SCENE, _masks())
    with played("cuda") as device:
        there = _moved(segmenters["clip"], device)
        masks = torch.from_numpy(_masks())
        for segmenter, given in (
            (there, masks),
            (there, masks.to(device)),
            (there, list(masks)),
            (here, masks.to(device)),
            (here, RegionMasks.from_masks(masks.to(device))),
        ):
            regions = segmenter.encode(SCENE, given)
            assert regions.tokens.device.type == regions.region_masks.device.type == segmenter.encoder.device.type
            torch.testing.assert_close(regions.tokens.cpu(), expected.tokens, atol=1e-5, rtol=0)
        picture = torch.from_numpy(SCENE).permute(2, 0, 1).to(device)
        assert len(there.encode(picture, masks)) == 3


def test_regions_and_models_on_different_devices(segmenters: dict[str, TextRegionSegmenter]) -> None:
    here = _moved(segmenters["clip"], "cpu")
    regions = here.encode(SCENE)
    labels = here.segment(regions, WORDS).labels
    with played("mps") as device:
        there = _moved(here, device, uncovered="dense")
        assert there.segment(regions, WORDS).labels.shape == labels.shape
        back = here.segment(there.encode(SCENE), WORDS).labels
        assert back.device.type == "cpu"
        assert torch.equal(back, labels)


@pytest.fixture
def _forget_what_devices_have() -> Iterator[None]:
    runtime._has_bf16.cache_clear()
    yield
    runtime._has_bf16.cache_clear()


@pytest.mark.usefixtures("_forget_what_devices_have")
@pytest.mark.parametrize("name", DEVICES)
def test_bf16_where_the_device_has_it_and_fp32_with_a_word_where_not(
    name: str, segmenters: dict[str, TextRegionSegmenter], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    with played(name) as device, caplog.at_level(logging.WARNING, "textregion.runtime"):
        masks = _masks()
        half = _moved(segmenters["clip"], device, Precision("bf16"))
        plain = _moved(segmenters["clip"], device).encode(SCENE, masks).tokens
        if not (name == "mps" and torch.__version__ < "2.6"):
            tokens = half.encode(SCENE, masks).tokens
            assert 1e-6 < float((tokens - plain).abs().max()) < 0.1
            assert not caplog.messages
        runtime._has_bf16.cache_clear()
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
        monkeypatch.setattr("torch.backends.mps.is_macos_or_newer", lambda *version: False)
        for _ in range(2):
            assert torch.equal(half.encode(SCENE, masks).tokens.cpu(), plain.cpu())
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(f"{name} does not compute in bf16")


@pytest.mark.parametrize("name", DEVICES)
def test_words_are_encoded_there(name: str, segmenters: dict[str, TextRegionSegmenter], tmp_path: Path) -> None:
    for family in ("clip", "pe"):
        expected = TextBank(segmenters[family].encoder, templates=BUILT_IN["none"]).encode(WORDS)
        with played(name) as device:
            encoder = _moved(segmenters[family], device).encoder
            for _ in range(2):  # made, and taken from the cache
                words = TextBank(encoder, tmp_path / family, templates=BUILT_IN["none"]).encode(WORDS)
                assert words.device.type == name
                torch.testing.assert_close(words.cpu(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DEVICES)
def test_of_equal_values_the_first_is_taken_on_every_device(name: str) -> None:
    values = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 1.0, 5.0], [-1.0, -2.0, -1.0]])
    for device in ("cpu", name):
        with played(name):
            most, place = first_max(values.to(device))
            assert place.dtype == torch.int64
            assert (most.tolist(), place.tolist()) == ([3, 2, 5, -1], [1, 0, 2, 0])
            assert place.device.type == device


def test_what_the_played_devices_refuse() -> None:
    with played("mps") as device:
        there, here = torch.ones(1, 1, 4, 4, device=device), torch.ones(4)
        for refused in (
            lambda: there.double(),
            lambda: there.to(torch.float64),
            lambda: torch.zeros(2, device="mps", dtype=torch.float64),
            lambda: torch.tensor(np.ones(2), device=device),
            lambda: torch.from_numpy(np.ones(2)).to(device),
            lambda: there.numpy(),
            lambda: np.asarray(there),
            lambda: F.interpolate(there, (2, 2), mode="bilinear", antialias=True),
            lambda: F.interpolate(there, (2, 2), mode="bicubic"),
        ):
            with pytest.raises((TypeError, NotImplementedError)):
                refused()
        for mixed in (
            lambda: there + here,
            lambda: here[torch.zeros(1, dtype=torch.int64, device=device)],
            lambda: torch.cat([there, here.reshape(1, 1, 2, 2)], dim=-1),
            lambda: F.linear(here, there[0, 0]),
            lambda: torch.where(there > 0, there, here),
        ):
            with pytest.raises(RuntimeError, match="on one device"):
                mixed()
        assert (there + torch.tensor(2.0)).device == there[0].mT.device == torch.device("mps", 0)
        assert there.cpu().double().device == here.device == torch.device("cpu")
        assert there.argmax(-1).flatten().tolist() == [3] * 4
    with played("cuda") as device:
        assert torch.ones(2, device=device).double().device.type == "cuda"
        assert torch.ones(2, device=device).argmax(0).item() == 0
        assert torch.ones(2).device.type == "cpu"
