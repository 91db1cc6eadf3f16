"""Digests: of files, and of a model's values, which are the same on every device."""

from __future__ import annotations

import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError


def sha256(path: Path) -> str:
    """A file's digest in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


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


def weights_digest(model: nn.Module) -> str:
    """A short digest of a model's names, shapes and all its values, as float32.

    Every value counts, as fine-tuning may change a few of them only. A checksum a tensor, several at a time, is fast
    enough for a billion values, which a cryptographic digest of them is not.
    """
    tensors = dict(sorted(model.state_dict().items()))
    with ThreadPoolExecutor() as pool:
        checksums = list(pool.map(_checksum, tensors.values()))
    facts = [f"{name}{tuple(t.shape)}{checksum}" for (name, t), checksum in zip(tensors.items(), checksums)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _checksum(tensor: Tensor) -> int:
    values = tensor.detach().cpu()
    if values.is_floating_point():
        values = values.float()
    return zlib.crc32(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
