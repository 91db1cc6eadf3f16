"""The parts of a segmenter: options, precision, compiled towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from textregion import RegionMasks, SegmenterOptions, TextRegionSegmenter, UserError
from textregion.options import PRESETS
from textregion.weights import load_parts, miniature_options


def test_compiled_towers_are_the_ones_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def compile_(function: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            ran.append(function.__name__)
            return function(*args, **kwargs)

        return compiled

    in_place: list[str] = []
    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(nn.Module, "compile", lambda module: in_place.append(type(module).__name__))
    segmenter = TextRegionSegmenter.from_pretrained(device="cpu", compiled=True)
    assert in_place == ["ImageEncoder"]
    segmenter.encode(np.zeros((64, 96, 3), np.uint8), masks=RegionMasks.from_masks(torch.ones(1, 1, 1), (64, 96)))
    assert ran[0] == "neg"
    assert set(ran[1:]) == {"patch_features"}


def test_a_machine_that_cannot_compile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Callable[..., Any]) -> Callable[..., Any]:
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match=r"cannot compile models here \(no C\+\+ compiler was found\): leave --compile"):
        TextRegionSegmenter.from_pretrained(device="cpu", compiled=True)


@pytest.mark.parametrize("task", PRESETS)
def test_what_suits_the_miniatures_lies_over_the_task_and_the_users_options_over_both(task: Any) -> None:
    suited = miniature_options()
    parts = load_parts(task=task, device="cpu", options={"prob_thd": 0.25, "box_nms_thresh": 0.5})
    expected = SegmenterOptions().as_dict() | PRESETS[task] | suited | {"prob_thd": 0.25, "box_nms_thresh": 0.5}
    assert parts.options.as_dict() == {**expected, "scale": tuple(expected["scale"])}
    assert parts.mask_generator.options == parts.options
    assert {name for name in suited if PRESETS["reasoning"].get(name, suited[name]) != suited[name]} == {"min_size"}


def test_complete_options_are_taken_as_they_are() -> None:
    options = SegmenterOptions(scale=(100, 50))
    assert load_parts(task="reasoning", device="cpu", options=options).options == options


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_precision_reaches_every_model(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = TextRegionSegmenter.from_pretrained(device="cpu", dtype=dtype, options={"points_per_side": 2})
    under_autocast: dict[str, bool] = {}

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            under_autocast[name] = torch.is_autocast_enabled("cpu")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(segmenter.encoder, "encode_text")
    watch(segmenter.encoder, "patch_features")
    watch(segmenter.mask_generator.model, "forward_image")
    watch(segmenter.encoder, "project")
    segmenter.segment(np.zeros((32, 48, 3), np.uint8), ["kite"])
    # the region tokens are made in float32 from what the towers gave
    towers = dict.fromkeys(["forward_image", "patch_features", "encode_text"], dtype == "bf16")
    assert under_autocast == {**towers, "project": False}


def test_the_miniature_clip_is_shown_pictures_as_it_was_trained() -> None:
    encoder = load_parts(device="cpu").encoder
    assert encoder.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)
    assert encoder.preprocess.std == (0.26862954, 0.26130258, 0.27577711)
    assert (encoder.preprocess.interpolation, encoder.crop_size, encoder.patch_size) == ("bicubic", 64, 8)
