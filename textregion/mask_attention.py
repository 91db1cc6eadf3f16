"""The attentions between a picture and the prompts on it, without the picture's tokens of every prompt.

See :mod:`textregion.mask_decoder` for the algebra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """A linear map of the keys: its weight (C, k), and its result as far as all prompts have it in common."""

    weight: Tensor
    shared: Tensor
    """The projected shared part, which every prompt scales: (k, N), or (N, k) in the upscaling."""
    fixed: Tensor
    """Projected offset, position and the bias, of the same shape or (k, 1)."""

    def __call__(self, keys: Keys | None) -> Tensor:
        """(B, k, N); (1, k, N) before any prompt has changed the keys."""
        if keys is None:
            return (self.shared + self.fixed)[None]
        rows = (keys.rows @ self.weight).transpose(1, 2)
        return torch.addcmul(self.fixed, self.shared, keys.scale).baddbmm_(rows, keys.mix)


@dataclass(frozen=True)
class Keys:
    """The picture's tokens for B prompts, but for the offset."""

    scale: Tensor
    """(B, 1, N)."""
    mix: Tensor
    """(B, r, N)."""
    rows: Tensor
    """(B, r, C)."""
    values: Tensor | None
    """(B, N, C): the tokens themselves, offset and all; None after the last layer, where nothing is added to them."""


def projection(linear: Any, shared: Tensor, offset: Tensor, position: Tensor | None, dtype: torch.dtype) -> Projection:
    """A linear layer of the package on keys, or on keys plus position."""
    weight = linear.weight
    fixed = (weight @ offset + linear.bias)[:, None]
    if position is not None:
        fixed = fixed + weight @ position.T
    return Projection(weight.T.to(dtype), (weight @ shared.T).to(dtype), fixed.to(dtype))


def look(attention: Any, queries: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Prompt tokens (B, T, C) attend to the picture, whose key and value are (B, d, N) or (1, d, N): (B, T, C)."""
    heads = attention.num_heads
    query = _heads(attention.q_proj(queries), heads)
    query = _fold(query * query.shape[-1] ** -0.5, len(key)).to(key.dtype)
    weights = (query @ key.unflatten(1, (heads, -1))).softmax(-1)
    seen = weights @ value.unflatten(1, (heads, -1)).transpose(2, 3)
    seen = _unfold(seen, len(queries)).transpose(1, 2).flatten(2)
    out: Tensor = attention.out_proj(seen.float())
    return out


def mixture(attention: Any, placed: Tensor, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """The picture attends to the prompt tokens: weights (B, heads * T, N) and what they weigh, (B, heads * T, C).

    Args:
        placed, tokens: (B, T, C) tokens that the keys and the values of the attention come from.
        query: (B, d, N) or (1, d, N), of the picture.
    """
    heads = attention.num_heads
    key = _heads(attention.k_proj(placed), heads)
    key = _fold(key * key.shape[-1] ** -0.5, len(query)).to(query.dtype)
    scores = _unfold(key @ query.unflatten(1, (heads, -1)), len(placed))
    out = attention.out_proj
    rows = _heads(attention.v_proj(tokens), heads) @ out.weight.T.unflatten(0, (heads, -1)) + out.bias / heads
    return scores.softmax(2).flatten(1, 2), rows.flatten(1, 2)


def _heads(values: Tensor, heads: int) -> Tensor:
    """(B, T, d) -> (B, heads, T, d / heads)."""
    return values.unflatten(2, (heads, -1)).transpose(1, 2)


def _fold(values: Tensor, batch: int) -> Tensor:
    """(B, heads, T, d) -> (batch, heads, B / batch * T, d): prompts that share a picture as more tokens."""
    return values.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)


def _unfold(values: Tensor, prompts: int) -> Tensor:
    """The opposite of :func:`_fold`."""
    return values.unflatten(2, (prompts // len(values), -1)).transpose(1, 2).flatten(0, 1)


def centre(rows: Tensor) -> Tensor:
    """(..., C) without its mean over C, the first step of a LayerNorm."""
    return rows - rows.mean(-1, keepdim=True)
