"""The text side that every encoder shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, text_global_pool
from torch import Tensor, nn

from .blocks import run_block

Tokenizer = Callable[[list[str]], Tensor]

TEXTS_OF_A_LENGTH = 80
"""Texts that share their padding: sorted by length, so that little of it is left."""


class TextTower:
    """An open_clip model's ``encode_text`` with its own tokenizer.

    Args:
        model: open_clip model with ``encode_text`` and ``context_length``.
        tokenizer: list of n texts -> (n, L) token ids, truncated to the context.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self._model: Any = model
        self._tower = _plain_tower(model)
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """n texts -> (n, L) token ids; longer texts are cut off."""
        return self._tokenizer(list(texts))

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """(n, L) -> (n, D) float32, L2-normalised, on the model's device."""
        tokens = tokens.to(self._model.logit_scale.device)
        if self._tower is None:
            features = self._model.encode_text(tokens)
        elif self._tower.attn_mask is None or _pool_type(self._tower) != "argmax":
            features = _encode(self._tower, tokens)
        else:
            features = _encode_to_end(self._tower, tokens)
        return F.normalize(features.float(), dim=-1)


def _plain_tower(model: Any) -> Any | None:
    """The text tower of a model where it is open_clip's plain one, in the model itself or beside the image tower."""
    tower: Any = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", None)
    if isinstance(tower, TextTransformer) and (tower.cls_emb is not None or tower.use_pad_mask):
        return None
    plain = isinstance(tower, (open_clip.CLIP, TextTransformer))
    return tower if plain and isinstance(tower.transformer.resblocks[0], ResidualAttentionBlock) else None


def _encode_to_end(tower: Any, tokens: Tensor) -> Tensor:
    """(n, L) -> (n, D) of a causal tower, whose end token sees nothing behind it: most padding is left out."""
    ends = tokens.argmax(1)  # the end token has the highest id
    by_length = ends.argsort(stable=True)
    parts = [_encode(tower, tokens[index, : int(ends[index[-1]]) + 1]) for index in by_length.split(TEXTS_OF_A_LENGTH)]
    return torch.cat(parts)[by_length.argsort()]


def _encode(tower: Any, tokens: Tensor) -> Tensor:
    """(n, L) -> (n, D), L up to the tower's context."""
    length = tokens.shape[1]
    mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
    hidden = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    for block in tower.transformer.resblocks:
        hidden = run_block(block, hidden, mask)
    end_id = tower.text_eos_id if isinstance(tower, open_clip.CLIP) else tower.eos_id
    pooled = text_global_pool(tower.ln_final(hidden), tokens, _pool_type(tower), eos_token_id=end_id)
    if isinstance(tower.text_projection, nn.Linear):
        features: Tensor = tower.text_projection(pooled)
        return features
    return pooled if tower.text_projection is None else pooled @ tower.text_projection


def _pool_type(tower: Any) -> str:
    return str(tower.text_pool_type if isinstance(tower, open_clip.CLIP) else tower.pool_type)
