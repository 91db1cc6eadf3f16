"""SigLIP, SigLIP2 and Perception Encoder towers of open_clip: timm ViTs with an attention pool (method.md 3 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import PoolFeature
from .base import PatchFeatures, Preprocess
from .text_tower import TextTower, Tokenizer


class AttentionPoolEncoder:
    """A timm tower inside open_clip whose global pool is an ``AttentionPoolLatent``.

    The published attention pool is called with equal keys, so it is the mean of the masked patches: only the value
    half of ``kv`` and ``proj`` of the pool remain, then the tower's own tail.

    Args:
        model: open_clip ``CustomTextCLIP`` with a timm trunk, or a model of the same shape.
        tokenizer: the model's own tokenizer.
        name: identifies model and weights in caches and records.
        preprocess: normalisation and interpolation that the model was trained with.
        crop_size: side of the tower's input in pixels.
        weights_origin: see :attr:`Encoder.weights_origin`.
        sigmoid: True where scores are cosine * exp(logit_scale) + logit_bias (the SigLIP family).
    """

    pooling: Literal["sum", "mean"] = "mean"
    global_weight = 0.5
    has_dense = False
    fixed_crop_size = True

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        name: str,
        preprocess: Preprocess,
        crop_size: int,
        sigmoid: bool,
        weights_origin: str | None = None,
    ) -> None:
        self.name, self.weights_origin = name, weights_origin
        self.preprocess = preprocess
        self.crop_size = crop_size
        self._model: Any = model
        visual: Any = model.visual
        trunk: Any = visual.trunk
        self._visual, self._trunk = visual, trunk
        self._text = TextTower(model, tokenizer)
        self._sigmoid = sigmoid
        self.patch_size = int(trunk.patch_embed.patch_size[0])
        self.width = int(trunk.embed_dim)
        with torch.no_grad():
            blank = torch.zeros(1, self.width, device=self.device, dtype=self._weight.dtype)
            self.embed_dim = int(self.project(blank).shape[1])

    @property
    def device(self) -> torch.device:
        return self._weight.device

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = self._trunk.attn_pool.kv.weight
        return weight

    def patch_features(self, views: Tensor, *, feature: PoolFeature = "value", dense: bool = False) -> PatchFeatures:
        """(V, 3, S, S) normalised views -> the tower's normalised patch tokens (V, C, g, g)."""
        if feature != "value":
            raise ValueError(f"pool_feature={feature!r} is defined for CLIP ViT only; use 'value' with {self.name}.")
        if dense:
            raise ValueError(f"{self.name} has no dense fallback.")
        tokens = self._trunk.forward_features(views)[:, self._trunk.num_prefix_tokens :]
        side = round(tokens.shape[1] ** 0.5)
        return PatchFeatures(tokens.transpose(1, 2).unflatten(2, (side, side)))

    def project(self, pooled: Tensor, *, feature: PoolFeature = "value", mlp: bool = True) -> Tensor:
        """(R, C) mean patch tokens -> (R, D): value projection, pool projection, the tower's tail, L2 norm."""
        pool, width = self._trunk.attn_pool, pooled.shape[-1]
        bias = None if pool.kv.bias is None else pool.kv.bias[width:]
        value = F.linear(pooled, pool.kv.weight[width:], bias)
        tail = self._trunk.head(self._trunk.fc_norm(pool.proj(value)))
        return F.normalize(self._visual.head(tail), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self._text.tokenize(texts)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._text.encode(tokens)

    def scores(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Cosine; for the SigLIP family times exp(logit_scale), plus logit_bias."""
        cosine = tokens @ text.T
        if not self._sigmoid:
            return cosine
        return cosine * self._model.logit_scale.exp() + self._model.logit_bias
