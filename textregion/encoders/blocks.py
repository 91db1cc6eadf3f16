"""open_clip's transformer block with its own parameters, its attention called the way that wastes nothing.

PyTorch's ``MultiheadAttention`` projects a transposed view of the tokens: under autocast on a CPU that copies the
weights once for every token.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def run_block(block: Any, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """A ``ResidualAttentionBlock`` on tokens (V, N, C), with an additive attention mask (N, N) if given."""
    query, key, value = project_heads(block, tokens)
    mixed = F.scaled_dot_product_attention(query, key, value, mask if mask is None else mask.to(query.dtype))
    return finish_block(block, tokens, mixed)


def project_heads(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of the block's attention, (V, heads, N, C / heads) each."""
    heads = block.attn.num_heads
    qkv = F.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias)
    query, key, value = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return query, key, value


def finish_block(block: Any, tokens: Tensor, mixed: Tensor) -> Tensor:
    """The block's output from what its attention has mixed, (V, heads, N, C / heads)."""
    tokens = tokens + block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
    out: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return out
