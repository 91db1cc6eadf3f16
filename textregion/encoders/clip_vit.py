"""CLIP ViT towers of open_clip (OpenAI, LAION and the rest of its zoo): sections 3, 8 and 12 of method.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import PoolFeature
from .base import PatchFeatures, Preprocess
from .blocks import finish_block, project_heads, run_block
from .text_tower import TextTower, Tokenizer


class ClipVitEncoder:
    """An open_clip ``VisionTransformer`` with a class token, and its text tower.

    Args:
        model: an open_clip ``CLIP`` or ``CustomTextCLIP`` whose ``visual`` is a ``VisionTransformer``.
        tokenizer: the model's own tokenizer.
        name: identifies model and weights in caches and records.
        preprocess: normalisation and interpolation that the model was trained with.
        crop_size: side of the input in pixels, a multiple of the patch size.
        weights_origin: see :attr:`Encoder.weights_origin`.
    """

    pooling: Literal["sum", "mean"] = "sum"
    global_weight = 1.0
    has_dense = True
    fixed_crop_size = False

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        name: str,
        preprocess: Preprocess,
        crop_size: int,
        weights_origin: str | None = None,
    ) -> None:
        self.name, self.weights_origin = name, weights_origin
        self.preprocess = preprocess
        self.crop_size = crop_size
        visual: Any = model.visual
        self._visual = visual
        self._text = TextTower(model, tokenizer)
        self.patch_size = int(visual.patch_size[0])
        self.width, self.embed_dim = (int(size) for size in visual.proj.shape)

    @property
    def device(self) -> torch.device:
        device: torch.device = self._visual.proj.device
        return device

    def patch_features(self, views: Tensor, *, feature: PoolFeature = "value", dense: bool = False) -> PatchFeatures:
        """(V, 3, S, S) normalised views -> values (V, C, g, g) and, if asked, dense embeddings (V, D, g, g)."""
        hidden = self._last_block_input(views)
        block = self._visual.transformer.resblocks[-1]
        dense_grid = _as_grid(self._dense(hidden, block)[:, 1:]) if dense else None
        if feature == "input":
            tokens = hidden
        elif feature == "output":
            tokens = run_block(block, hidden)
        else:
            tokens = _project_values(block, hidden)
        return PatchFeatures(_as_grid(tokens[:, 1:]), dense_grid)

    def project(self, pooled: Tensor, *, feature: PoolFeature = "value", mlp: bool = True) -> Tensor:
        """(R, C) pooled values -> (R, D): out_proj (and the block's MLP), ln_post, projection, L2 norm."""
        if feature == "value":
            block = self._visual.transformer.resblocks[-1]
            pooled = block.ls_1(block.attn.out_proj(pooled))
            if mlp:
                pooled = pooled + block.ls_2(block.mlp(block.ln_2(pooled)))
        return F.normalize(self._visual.ln_post(pooled) @ self._visual.proj, dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self._text.tokenize(texts)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._text.encode(tokens)

    def scores(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Cosine of every region token with every text."""
        return tokens @ text.T

    def _last_block_input(self, views: Tensor) -> Tensor:
        """(V, 1 + g * g, C), class token first; the last block itself is not run."""
        visual = self._visual
        patches = visual.conv1(views)
        grid = patches.shape[-1]
        tokens = patches.flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
        tokens = torch.cat([class_token, tokens], dim=1)
        tokens = tokens + position_embedding(visual.positional_embedding, grid).to(tokens.dtype)
        tokens = visual.ln_pre(tokens)
        for block in visual.transformer.resblocks[:-1]:
            tokens = run_block(block, tokens)
        return tokens

    def _dense(self, hidden: Tensor, block: Any) -> Tensor:
        """(V, 1 + g * g, D): the last block with query-query plus key-key attention (section 12)."""
        tokens = finish_block(block, hidden, _self_correlation(block, hidden))
        return F.normalize(self._visual.ln_post(tokens) @ self._visual.proj, dim=-1)


def position_embedding(embedding: Tensor, grid: int) -> Tensor:
    """Position embedding (1 + n, C) brought to a grid of ``grid`` x ``grid`` patches: (1 + grid * grid, C).

    Bicubic, not antialiased; the published code passes the scale factor (grid + 0.1) / sqrt(n), which moves the
    sampling positions a little, and so do we (section 2).
    """
    count = embedding.shape[0] - 1
    side = round(count**0.5)
    if side == grid:
        return embedding
    old = embedding[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = (grid + 0.1) / side
    new = F.interpolate(old, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    if new.shape[-1] != grid:
        raise ValueError(f"position embedding of {side} x {side} patches cannot be brought to {grid} x {grid}")
    return torch.cat([embedding[:1], new.permute(0, 2, 3, 1).reshape(grid * grid, -1).to(embedding.dtype)])


def _as_grid(tokens: Tensor) -> Tensor:
    """(V, g * g, C) -> (V, C, g, g)."""
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def _project_values(block: Any, hidden: Tensor) -> Tensor:
    """v = ln_1(x) Wv^T + bv, with the last third of the fused input projection."""
    width = hidden.shape[-1]
    weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    return F.linear(block.ln_1(hidden), weight, bias)


def _self_correlation(block: Any, hidden: Tensor) -> Tensor:
    """What attention with weights softmax(q q^T s) + softmax(k k^T s) mixes: (V, heads, N, C / heads)."""
    query, key, value = project_heads(block, hidden)
    # Attention is linear in its weights, so the sum of the two maps is the sum of two ordinary attentions.
    mixed = F.scaled_dot_product_attention(query, query, value)
    return mixed + F.scaled_dot_product_attention(key, key, value)
