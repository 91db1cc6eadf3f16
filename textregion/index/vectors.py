"""The int8 copy of a part's tokens that a question scans; derived from the part, kept beside it in ``cache/``.

Tokens are centred by their part's mean, then quantised with a scale each. The mean's product with the question is
exact, so that parts with different means are compared fairly and none changes when others are added.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import UserError
from ..files import write_bytes
from .part import Part

logger = logging.getLogger(__name__)

LEVELS = 127
_LEAST_ROWS = 64
"""Below, integer products are not worth their call, and not right in every version of PyTorch."""
_BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Vectors:
    """N tokens in int8: ``mean + scale * levels`` each."""

    levels: Tensor
    """(N, D) int8."""
    scale: Tensor
    """(N,) float32."""
    mean: Tensor
    """(D,) float32."""

    @classmethod
    def of(cls, tokens: Tensor) -> Vectors:
        """Those of (N, D) float16 tokens."""
        whole = tokens.float()
        mean = whole.mean(0) if len(whole) else whole.new_zeros(whole.shape[1])
        levels, scale = quantise(whole - mean)
        return cls(levels, scale, mean)

    def scores(self, question: Tensor) -> Tensor:
        """(N,) float32: the products of the N tokens with a question (D,), from int8 products where there are any."""
        levels, scale = quantise(question[None])
        products = int8_products(self.levels, levels[0])
        return products.mul_(self.scale * scale).add_(question @ self.mean)


def quantise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) float32 -> (N, D) int8 and the (N,) scales that give them back."""
    scale = (vectors.abs().amax(1) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
    return (vectors / scale[:, None]).round_().to(torch.int8), scale


def int8_products(levels: Tensor, question: Tensor) -> Tensor:
    """(N, D) int8 and (D,) int8 -> (N,) float32 products."""
    if len(levels) >= _LEAST_ROWS and has_int8_products(levels.shape[1]):
        return torch._int_mm(levels, question[:, None])[:, 0].float()
    column = question.float()
    blocks = [block.float() @ column for block in levels.split(_BLOCK_ROWS)]
    return torch.cat(blocks) if blocks else column.new_zeros(0)


@lru_cache(maxsize=8)
def has_int8_products(size: int) -> bool:
    """Whether this machine multiplies int8 vectors of that size, and rightly: some saturate on the way."""
    levels = torch.full((_LEAST_ROWS, size), LEVELS, dtype=torch.int8)
    levels[::2] = -LEVELS
    column = torch.full((size, 1), LEVELS, dtype=torch.int8)
    try:
        products = torch._int_mm(levels, column)
    except RuntimeError:
        return False
    return bool((products.long() == levels.long() @ column.long()).all())


def load_vectors(path: Path, source: os.stat_result) -> Vectors | None:
    """What :func:`store_vectors` kept of a part that is as it was then; None where there is nothing of use."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("of") != _stamp(source):
                return None
            return Vectors(*(file.get_tensor(name) for name in ("levels", "scale", "mean")))
    except (OSError, SafetensorError):
        return None


def fits(vectors: Vectors, part: Part) -> bool:
    """Whether they can be those of a part."""
    count, size = part.tokens.shape
    shapes = (vectors.levels.shape, vectors.scale.shape, vectors.mean.shape)
    return shapes == ((count, size), (count,), (size,)) and vectors.levels.dtype == torch.int8


def store_vectors(path: Path, vectors: Vectors, source: os.stat_result) -> None:
    """Keep vectors for the next time; where that is not possible, log it and go on."""
    columns = {"levels": vectors.levels, "scale": vectors.scale, "mean": vectors.mean}
    try:
        write_bytes(path, save(columns, {"of": _stamp(source)}))
    except UserError as error:
        logger.warning("%s The index is used without.", error)


def _stamp(source: os.stat_result) -> str:
    """A part's size and time: as long as they are the same its bytes are not read again."""
    return f"{source.st_size} {source.st_mtime_ns}"
