"""The text side that every encoder shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tokenizer = Callable[[list[str]], Tensor]


class TextTower:
    """An open_clip model's ``encode_text`` with its own tokenizer.

    Args:
        model: open_clip model with ``encode_text`` and ``context_length``.
        tokenizer: list of n texts -> (n, L) token ids, truncated to the context.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """n texts -> (n, L) token ids; longer texts are cut off."""
        return self._tokenizer(list(texts))

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """(n, L) -> (n, D) float32, L2-normalised, on the model's device."""
        device = self._model.logit_scale.device
        features = self._model.encode_text(tokens.to(device))
        return F.normalize(features.float(), dim=-1)
