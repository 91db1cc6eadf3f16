"""Files of weights that are taken, and what is said of those that are not; test_hostile_files.py has the hostile."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from textregion import UserError
from textregion.checkpoints.reading import read_checkpoint

STATE = {"visual.proj": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(3.0)}

BESIDE: dict[str, Any] = {
    "a NumPy float": np.float64(0.25),
    "a NumPy integer": np.int32(7),
    "a NumPy truth value": np.bool_(True),
    "a half": np.float16(0.5),
    "an array": np.arange(5),
    "the state of NumPy's generator": ("MT19937", np.arange(624, dtype=np.uint32), 624, 0, 0.0),
    "settings": argparse.Namespace(lr=1e-3, name="run"),
    "nested": {"optimizer": {"lr": np.float64(1e-4), "betas": (np.float32(0.9), 0.98)}},
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_trainers_put_beside_weights_is_no_obstacle(beside: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "epoch_3.pt"
    torch.save({"state_dict": STATE, "beside": BESIDE[beside]}, path, _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(path).tensors.keys() == STATE.keys()


def test_values_of_numpy_1_are_known_by_their_old_name(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(
        {"model": STATE, "loss": np.float64(1), "curve": np.arange(2.0)}, path, _use_new_zipfile_serialization=False
    )
    written = path.read_bytes()
    assert b"numpy._core.multiarray" in written
    path.write_bytes(written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_checkpoint(path).tensors.keys() == STATE.keys()


def test_what_a_caller_allowed_stays_allowed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pt")
    with torch.serialization.safe_globals([np.dtype]):
        read_checkpoint(tmp_path / "a.pt")
        assert np.dtype in torch.serialization.get_safe_globals()
    assert np.dtype not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_suffix_and_precision(suffix: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    state = {name: value.to(dtype) for name, value in STATE.items()}
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    for name, value in read_checkpoint(path).tensors.items():
        assert torch.equal(value, state[name]) and value.dtype == dtype


def test_safetensors_under_another_suffix(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.bin")
    assert read_checkpoint(tmp_path / "model.bin").tensors.keys() == STATE.keys()


def _a_path(path: Path) -> None:
    torch.save({"model": STATE, "where": Path("x")}, path)


def _object_in_numpy(path: Path) -> None:
    torch.save({"model": STATE, "array": np.array([None], dtype=object)}, path)


SAID: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class": (
        lambda path: torch.save({"model": STATE, "where": Path("x")}, path),
        r"\(pathlib\.\S*\), which could run",
    ),
    "an object in an array": (_object_in_numpy, r"\(numpy\.dtypes\.ObjectDType\), which could run code"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "a web page": (lambda path: path.write_text("\n<!DOCTYPE html><html></html>"), "a web page"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "no weights": (lambda path: torch.save({"epoch": 3}, path), "holds no model weights"),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_no_checkpoint_is_named_and_not_told_to_be_downloaded_again(kind: str, tmp_path: Path) -> None:
    make, said = SAID[kind]
    path = tmp_path / "model.pt"
    make(path)
    with pytest.raises(UserError, match=said) as caught:
        read_checkpoint(path)
    assert "download it again" not in str(caught.value)


def test_half_a_file_is_to_be_downloaded_again(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": {"weight": torch.zeros(999)}}, path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match=r"is damaged or none .*download it again"):
        read_checkpoint(path)
