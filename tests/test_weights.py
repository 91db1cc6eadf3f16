"""Checkpoints and configs by their names; test_hostile_files.py has the bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from torch import nn

from textregion import RegionMasks, SegmenterOptions, TextRegionSegmenter, UserError, load_sam2
from textregion.options import PRESETS
from textregion.weights import load_parts, miniature_options
from textregion.weights.sam2 import _sam2_config

from .conftest import WEIGHTS

CHECKPOINT, CONFIG = WEIGHTS / "sam2_tiny.safetensors", WEIGHTS / "sam2_tiny.yaml"


def test_pt_and_safetensors_hold_the_same_model(sam2_model: nn.Module, tmp_path: Path) -> None:
    torch.save({"model": load_file(CHECKPOINT)}, tmp_path / "tiny.pt")
    again = load_sam2(tmp_path / "tiny.pt", CONFIG, "cpu")
    for name, value in sam2_model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("facebook/sam2.1-hiera-large", "configs/sam2.1/sam2.1_hiera_l.yaml"),
        ("facebook/sam2-hiera-base-plus", "configs/sam2/sam2_hiera_b+.yaml"),
        ("/models/sam2.1_hiera_tiny.pt", "configs/sam2.1/sam2.1_hiera_t.yaml"),
        ("sam2_hiera_small.pt", "configs/sam2/sam2_hiera_s.yaml"),
    ],
)
def test_the_config_follows_from_the_name(name: str, config: str) -> None:
    path = _sam2_config(name, None)
    assert path.is_file()
    assert path.as_posix().endswith(config)


def test_configs_inside_the_package_go_by_name() -> None:
    assert _sam2_config("mine.pt", "configs/sam2.1/sam2.1_hiera_s.yaml").is_file()
    assert _sam2_config("mine.pt", "sam2.1/sam2.1_hiera_s.yaml").is_file()
    with pytest.raises(UserError, match="--model_cfg"):
        _sam2_config("mine.pt", None)
    with pytest.raises(UserError, match=r"none\.yaml"):
        _sam2_config("mine.pt", "none.yaml")


def test_hub_ids_go_through_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def offline(repo_id: str, filename: str) -> str:
        asked.append((repo_id, filename))
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(UserError, match=r"could not be downloaded \(no network\): give a file"):
        load_sam2("facebook/sam2.1-hiera-large", device="cpu")
    assert asked == [("facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt")]
    with pytest.raises(UserError, match=r"neither a file nor a hub id.*sam2\.1-hiera-tiny"):
        load_sam2("somebody/sam2_hiera_large", device="cpu")


def test_a_checkpoint_of_another_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit the config sam2\.1_hiera_t\.yaml.*--model_cfg"):
        load_sam2(CHECKPOINT, "configs/sam2.1/sam2.1_hiera_t.yaml", "cpu")


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
