"""Checkpoint files and SAM 2's configs, read without trusting them: no code runs, and what is unsound is one error."""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from .errors import UserError, reason_of


def read_tensors(path: Path, key: str, mapped: bool = False) -> dict[str, Tensor]:
    """The state dict of a ``.safetensors`` file or of one that ``torch.save`` wrote; never runs code from it.

    A file is checked against ``<file>.sha256`` where that lies beside it.

    Args:
        path: the file.
        key: under which a file of ``torch.save`` may hold the state dict.
        mapped: leave the values on disk where the format allows it, for who asks only whether the file is sound.

    Raises:
        UserError: a file that cannot be read, is damaged, is none or holds something else.
    """
    name = os.fspath(path)
    try:
        verify_checksum(path)
        state = _load(path, mapped)
    except UserError:
        raise
    except pickle.UnpicklingError:  # PyTorch's message advises to read it nevertheless
        reason = "it holds no tensors, or more than tensors, which could run code"
        raise UserError(f"Checkpoint {name!r} is damaged or none ({reason}): download it again.") from None
    except Exception as error:  # readers of damaged and made-up bytes raise errors of any kind; all mean the same
        raise UserError(f"Checkpoint {name!r} is damaged or none ({reason_of(error)}): download it again.") from None
    state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(map(_is_weight, state.items())):
        raise UserError(f"Checkpoint {name!r} holds no model weights: give a state dict.")
    return state


def _load(path: Path, mapped: bool) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if tarfile.is_tarfile(path):
        # Up to 2.5, PyTorch's reader of its first format can be made to run code, weights_only or not.
        raise ValueError("a tar archive, the format of early PyTorch, is not read")
    mapped = mapped and zipfile.is_zipfile(path)
    return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=mapped)


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def verify_checksum(path: Path) -> None:
    """Check a file against ``<file>.sha256`` where that lies beside it.

    Raises:
        UserError: it does not match.
    """
    beside = path.with_name(path.name + ".sha256")
    if not beside.is_file():
        return
    first_word = beside.read_text(encoding="utf-8", errors="replace").lower().split()[:1]
    if first_word != [sha256(path)]:
        raise UserError(f"Checkpoint {os.fspath(path)!r} does not match {beside.name}: download it again.")


def sha256(path: Path) -> str:
    """A file's digest in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def build_sam2(config: Path) -> nn.Module:
    """The model that a config of SAM 2 describes, without weights; it may name modules of ``sam2.modeling`` only.

    Raises:
        UserError: a config that cannot be read, names anything else, or describes no SAM 2.
    """
    name = f"SAM 2 config {os.fspath(config)!r}"
    try:
        # OmegaConf's loader is YAML's safe one, and reads 1e-6 as a number, which YAML 1.1 does not.
        settings: Any = OmegaConf.to_container(OmegaConf.load(config))
    except Exception as error:  # YAML's constructors raise errors of any kind on a value that its tag does not fit
        raise UserError(f"{name} cannot be read ({reason_of(error)}): give another with --model_cfg.") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), dict):
        raise UserError(f"{name} has no 'model' section: give one of the sam2 package's form.")
    _refuse_what_runs(settings["model"], name)
    try:
        model = instantiate(settings["model"], _recursive_=True)
    except Exception as error:  # a module's own code raises errors of any kind on arguments that do not fit
        raise UserError(f"{name} describes no model ({reason_of(error)}): give another with --model_cfg.") from None
    if not isinstance(model, SAM2Base):
        raise UserError(f"{name} describes no SAM 2 but {type(model).__name__}: give another with --model_cfg.")
    return model


def _refuse_what_runs(node: object, name: str) -> None:
    """Refuse what would run, read or import anything but the modules of a SAM 2 model.

    Raises:
        UserError: a class from elsewhere, an interpolation, or a file of weights.
    """
    if isinstance(node, str) and "${" in node:
        # It could become a section of its own, with a class from anywhere, after this check.
        raise UserError(f"{name} holds the interpolation {node!r}: write the value itself.")
    if isinstance(node, dict):
        if "_target_" in node and not _is_sam2_module(node["_target_"]):
            raise UserError(f"{name} names {node['_target_']!r}: only classes of sam2.modeling may stand there.")
        if node.get("weights_path") is not None:
            # SAM 2 would read them with pickle.
            raise UserError(f"{name} names the weights {node['weights_path']!r}: they come from the checkpoint alone.")
        for key in node:
            if str(key).startswith("_") and key != "_target_":
                raise UserError(f"{name} has the field {key!r}: give a class by '_target_', and its arguments by name.")
        for value in node.values():
            _refuse_what_runs(value, name)
    elif isinstance(node, list):
        for value in node:
            _refuse_what_runs(value, name)


def _is_sam2_module(target: object) -> bool:
    """Whether a name stands for a module that is defined below ``sam2.modeling``, not for what is imported there."""
    source, _, name = str(target).rpartition(".")
    if not source.startswith("sam2.modeling."):
        return False
    try:
        found = getattr(importlib.import_module(source), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == source


def weights_digest(model: nn.Module) -> str:
    """A short digest of a model's names, shapes and a sample of each tensor, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:16]
