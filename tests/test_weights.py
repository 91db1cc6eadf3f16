"""Checkpoints and configs by their names; test_hostile_files.py has the bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from torch import nn

from textregion import UserError, load_sam2
from textregion.weights import _sam2_config

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
