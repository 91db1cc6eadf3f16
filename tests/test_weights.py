"""Checkpoints: files, hub ids, configs; nothing in them is trusted."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from torch import nn

from textregion import UserError, load_sam2
from textregion.weights import _sam2_config

from .conftest import WEIGHTS
from .test_encoders import RunsCode

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


@pytest.mark.parametrize("kind", ["cut.safetensors", "cut.pt", "text.pt", "list.pt", "evil.pt"])
def test_damaged_and_hostile_checkpoints_are_one_sentence(kind: str, tmp_path: Path) -> None:
    path, mark = tmp_path / kind, tmp_path / "ran"
    if kind == "cut.safetensors":
        path.write_bytes(CHECKPOINT.read_bytes()[:5000])
    elif kind == "cut.pt":
        torch.save({"model": load_file(CHECKPOINT)}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "text.pt":
        path.write_text("no model")
    elif kind == "list.pt":
        torch.save([1, 2, 3], path)
    else:
        path.write_bytes(pickle.dumps({"model": RunsCode(mark)}))
    with pytest.raises(UserError, match=kind) as caught:
        load_sam2(path, CONFIG, "cpu")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model: !!python/object/apply:os.system ['true']", "cannot be read"),
        ("model: {_target_: os.system, command: 'true'}", "names 'os.system'"),
        ("model: {_target_: sam2.modeling.sam2_base.SAM2Base}", "describes no model"),
        ("model: [1, 2]", "no 'model' section"),
        ("{", "cannot be read"),
    ],
)
def test_bad_and_hostile_configs_are_one_sentence(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        load_sam2(CHECKPOINT, path, "cpu")
    assert str(path) in str(caught.value)


def test_a_checksum_beside_the_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(CHECKPOINT.read_bytes())
    beside = tmp_path / "tiny.safetensors.sha256"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  tiny.safetensors\n")
    load_sam2(path, CONFIG, "cpu")
    beside.write_text("0" * 64)
    with pytest.raises(UserError, match=r"does not match tiny\.safetensors\.sha256"):
        load_sam2(path, CONFIG, "cpu")
