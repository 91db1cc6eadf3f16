"""The text side that every encoder shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

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
        self._causal = _causal_tower(model)
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """n texts -> (n, L) token ids; longer texts are cut off."""
        return self._tokenizer(list(texts))

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """(n, L) -> (n, D) float32, L2-normalised, on the model's device."""
        tokens = tokens.to(self._model.logit_scale.device)
        if self._causal is None:
            return F.normalize(self._model.encode_text(tokens).float(), dim=-1)
        by_length = tokens.argmax(1).argsort(stable=True)
        parts = [_encode_to_end(self._causal, tokens[index]) for index in by_length.split(TEXTS_OF_A_LENGTH)]
        return F.normalize(torch.cat(parts)[by_length.argsort()].float(), dim=-1)


def _causal_tower(model: Any) -> Any | None:
    """The tower of a model whose feature is its end token's and sees nothing behind it; None for any other."""
    tower: Any = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", None)
    if isinstance(tower, open_clip.CLIP):
        return tower if tower.text_pool_type == "argmax" and tower.attn_mask is not None else None
    if type(tower) is not TextTransformer or tower.pool_type != "argmax" or tower.attn_mask is None:
        return None
    return tower if tower.cls_emb is None and not tower.use_pad_mask else None


def _encode_to_end(tower: Any, tokens: Tensor) -> Tensor:
    """(n, L) -> (n, D) features, of which the padding behind the last end token is left out."""
    end = tokens.argmax(1)  # the end token has the highest id
    length = int(end.max()) + 1
    hidden = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]
    hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length])
    pooled = tower.ln_final(hidden[torch.arange(len(end), device=end.device), end])
    if isinstance(tower.text_projection, nn.Linear):
        features: Tensor = tower.text_projection(pooled)
        return features
    return pooled if tower.text_projection is None else pooled @ tower.text_projection
