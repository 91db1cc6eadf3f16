"""Checkpoint files, read without trusting them: no code runs, and what is unsound is one sentence."""

from __future__ import annotations

import json
import os
import pickle
import re
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError, reason_of
from .digests import verify_checksum
from .numpy_values import plain_values
from .state_dicts import find_weights
from .torchscript import NotOnlyTensors, is_torchscript, read_torchscript

_NO_WEIGHTS_BEGIN = {
    b"version https://git-lfs": "a Git LFS pointer, not the file that it stands for: run git lfs pull in its folder",
    b"<!doctype": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds."""

    tensors: dict[str, Tensor]
    """The weights by name, without what wrappers and trainers put before the names."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Plain values that lie among them."""


INDEX = ".index.json"


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights in a ``.safetensors`` file, one that ``torch.save`` wrote, or a TorchScript archive; runs no code.

    The index of a model in several files (``model.safetensors.index.json``) stands for all of
    them. A file is checked against ``<file>.sha256`` where that lies beside it.

    Raises:
        UserError: a file that cannot be read, is damaged, is none or holds something else.
    """
    name = os.fspath(path)
    if path.name.endswith(INDEX):
        return Checkpoint({k: t for part in shards(path) for k, t in read_checkpoint(part).tensors.items()})
    try:
        _refuse_what_is_none(path)
        verify_checksum(path)
        content = _load(path)
    except UserError:
        raise
    except NotOnlyTensors as error:
        raise UserError(
            f"Checkpoint {name!r} is a TorchScript archive whose weights cannot be taken without running its code (it "
            f"holds {error}): where you trust it, save them with torch.save(torch.jit.load(...).state_dict(), ...)."
        ) from None
    except pickle.UnpicklingError as error:
        raise _refused(name, error) from None
    except Exception as error:  # readers of damaged and made-up bytes raise errors of any kind; all mean the same
        raise UserError(f"Checkpoint {name!r} is damaged or none ({reason_of(error)}): download it again.") from None
    tensors, metadata = find_weights(content)
    if not tensors:
        raise UserError(f"Checkpoint {name!r} holds no model weights: give a state dict.")
    return Checkpoint(tensors, metadata)


def shards(index: Path) -> list[Path]:
    """The files that an index names, all in its folder.

    Raises:
        UserError: an index that cannot be read, or a file that is not there.
    """
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        parts = [index.parent / Path(name).name for name in sorted(set(named))]
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"Index {os.fspath(index)!r} cannot be read ({reason_of(error)}): download it again.") from None
    absent = [part.name for part in parts if not part.is_file()]
    if absent:
        raise UserError(f"Index {os.fspath(index)!r} names {', '.join(absent)}, not in its folder: download the rest.")
    return parts


def _refuse_what_is_none(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"Checkpoint {os.fspath(path)!r} is a folder: give the file in it.")
    with open(path, "rb") as file:
        beginning = file.read(64).lstrip().lower()
    for mark, what in _NO_WEIGHTS_BEGIN.items():
        if beginning.startswith(mark):
            raise UserError(f"Checkpoint {os.fspath(path)!r} is {what}.")


def _refused(name: str, error: pickle.UnpicklingError) -> UserError:
    """PyTorch's own message advises to read the file nevertheless."""
    named = re.search(r"(?:GLOBAL |<class ')([\w.]+)", str(error))
    if named is None:
        return UserError(f"Checkpoint {name!r} is damaged or none (it cannot be read as tensors): download it again.")
    return UserError(
        f"Checkpoint {name!r} holds more than tensors and numbers ({named[1]}), which could run code and is not read: "
        "where it was trained, save its weights alone, with torch.save(model.state_dict(), ...)."
    )


def _load(path: Path) -> Any:
    if _is_safetensors(path):
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    if tarfile.is_tarfile(path):
        # Up to 2.5, PyTorch's reader of its first format can be made to run code, weights_only or not.
        raise ValueError("a tar archive, the format of early PyTorch, is not read")
    with plain_values():
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _is_safetensors(path: Path) -> bool:
    """By the name, or by its beginning: the length of a header that is JSON."""
    with open(path, "rb") as file:
        beginning = file.read(9)
    sized = len(beginning) == 9 and int.from_bytes(beginning[:8], "little") < path.stat().st_size
    return path.suffix == ".safetensors" or (sized and beginning[8:] == b"{")
