"""SAM 2's mask decoder on single points: the sam2 package's parameters, our order of arithmetic.

The package repeats the picture's N tokens for every prompt and projects them anew in every attention. But a layer only
adds to them an attention to T (about eight) prompt tokens and then normalises, so for any prompt they are

    keys[n] = scale[n] * shared[n] + sum over r of mix[r, n] * rows[r] + offset

with a ``shared`` part and an ``offset`` that all prompts have in common, and T rows a head and layer. A projection of
the keys is therefore one of the shared part, made once per picture together with every bias and position term, and one
of a few rows. This is algebra: only rounding differs from the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .mask_attention import Keys, Projection, centre, look, mixture, projection

LOGIT_LIMIT = 32.0
"""Mask logits are clamped to [-32, 32]."""
CPU_CHUNK_BYTES, GPU_CHUNK_BYTES = 24 * 2**20, 2**30
"""Memory for the tokens of the prompts decoded at a time: a processor's shared cache, or a small part of a GPU's."""
CPU_BAND_BYTES = 2**20
"""Memory for one band of tokens as it is upscaled: a core's own cache. A GPU takes all tokens at once."""


@torch.no_grad()
def decode_points(
    model: Any, embedding: Tensor, high_res: list[Tensor], points: Tensor, chunk: int = 0
) -> tuple[Tensor, Tensor]:
    """The three masks of every point.

    Args:
        model: a ``SAM2Base``, of which ``sam_prompt_encoder`` and ``sam_mask_decoder`` are used.
        embedding: (1, C, h, w) picture, the no-memory embedding added.
        high_res: [(1, C / 8, 4 h, 4 w), (1, C / 4, 2 h, 2 w)]; not looked at where the decoder takes none.
        points: (n, 2) x, y in input pixels; each is a prompt of its own.
        chunk: points decoded at a time; 0: as many as suit the device.

    Returns:
        Logits (n, 3, 4 h, 4 w) float16 clamped to [-32, 32], and predicted IoU (n, 3) float32. Under autocast the
        picture's side is computed in autocast's type.
    """
    device = points.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        tokens, dense = _prompt_tokens(model, points)
        position = _token_rows(model.sam_prompt_encoder.get_dense_pe())
        decoder = _PictureDecoder(model.sam_mask_decoder, embedding.float() + dense, position, high_res, dtype)
        parts = [decoder(part) for part in tokens.split(chunk or decoder.chunk)]
        return torch.cat([logits for logits, _ in parts]), torch.cat([iou for _, iou in parts])


def _prompt_tokens(model: Any, points: Tensor) -> tuple[Tensor, Tensor]:
    """(n, T, C) output tokens and point, and the (1, C, h, w) embedding of having no mask for a prompt."""
    decoder = model.sam_mask_decoder
    labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
    sparse, dense = model.sam_prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    learned = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if decoder.pred_obj_scores:
        learned.insert(0, decoder.obj_score_token.weight)
    return torch.cat([torch.cat(learned).expand(len(points), -1, -1), sparse], dim=1), dense[:1]


@dataclass(frozen=True)
class _Layer:
    """One two-way block of the package and the projections of the keys that come into it."""

    block: Any
    shared: Tensor
    """(N, C) float32 shared part of the keys that come in."""
    offset: Tensor
    """(C,) their offset."""
    key: Projection
    value: Projection
    query: Projection


class _PictureDecoder:
    """The mask decoder for prompts on one picture.

    Args:
        decoder: the package's ``MaskDecoder``.
        embedding: (1, C, h, w) picture with the dense prompt added.
        position: (N, C) position embedding.
        high_res: finer levels of the picture.
        dtype: type of all that has N tokens.
    """

    def __init__(
        self, decoder: Any, embedding: Tensor, position: Tensor, high_res: list[Tensor], dtype: torch.dtype
    ) -> None:
        self.decoder = decoder
        self.size_hw = embedding.shape[-2], embedding.shape[-1]
        self.dtype = dtype
        self.layers: list[_Layer] = []
        shared = _token_rows(embedding)
        offset = torch.zeros_like(shared[0])
        for block in decoder.transformer.layers:
            self.layers.append(_layer(block, shared, offset, position, dtype))
            # LayerNorm takes the mean away and multiplies by 1 / std, the prompt's scale, and its weight.
            shared, offset = centre(shared) * block.norm4.weight, block.norm4.bias
        last = decoder.transformer.final_attn_token_to_image
        self.last_key = projection(last.k_proj, shared, offset, position, dtype)
        self.last_value = projection(last.v_proj, shared, offset, None, dtype)
        self._prepare_upscaling(shared, offset, high_res)

    @property
    def chunk(self) -> int:
        """Prompts that suit the device at a time."""
        shared = self.layers[0].shared
        budget = CPU_CHUNK_BYTES if shared.device.type == "cpu" else GPU_CHUNK_BYTES
        return max(1, budget // (3 * shared.numel() * self.dtype.itemsize))

    def __call__(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) tokens of B prompts -> logits (B, 3, 4 h, 4 w) float16 and predicted IoU (B, 3)."""
        queries, keys = tokens, None
        for layer in self.layers:
            queries, keys = self._run(layer, queries, keys, tokens)
        assert keys is not None
        transformer, first = self.decoder.transformer, int(self.decoder.pred_obj_scores)
        seen = look(transformer.final_attn_token_to_image, queries + tokens, self.last_key(keys), self.last_value(keys))
        queries = transformer.norm_final_attn(queries + seen)
        iou = self.decoder.iou_prediction_head(queries[:, first])[:, 1:]
        networks = list(self.decoder.output_hypernetworks_mlps)[1:]
        weights = [network(queries[:, first + 2 + i]) for i, network in enumerate(networks)]
        return self._masks(keys, torch.stack(weights, dim=1).to(self.dtype)), iou

    def _run(self, layer: _Layer, queries: Tensor, keys: Keys | None, tokens: Tensor) -> tuple[Tensor, Keys]:
        block = layer.block
        if block.skip_first_layer_pe:
            queries = block.norm1(block.self_attn(queries, queries, queries))
        else:
            placed = queries + tokens
            queries = block.norm1(queries + block.self_attn(placed, placed, queries))
        seen = look(block.cross_attn_token_to_image, queries + tokens, layer.key(keys), layer.value(keys))
        queries = block.norm2(queries + seen)
        queries = block.norm3(queries + block.mlp(queries))
        mix, rows = mixture(block.cross_attn_image_to_token, queries + tokens, queries, layer.query(keys))
        return queries, self._absorb(layer, keys, mix, rows)

    def _absorb(self, layer: _Layer, keys: Keys | None, mix: Tensor, rows: Tensor) -> Keys:
        """The keys after ``mix`` (B, r, N) of ``rows`` (B, r, C) is added to them and they are normalised."""
        norm, count = layer.block.norm4, len(mix)
        old = layer.shared.to(self.dtype).expand(count, -1, -1) if keys is None else keys.values
        assert old is not None
        values = None if layer is self.layers[-1] else torch.empty(old.shape, dtype=self.dtype, device=old.device)
        scale = mix.new_empty(count, 1, mix.shape[2])
        added, weight, bias = (x.to(self.dtype) for x in (rows, norm.weight, norm.bias))
        for band in self._bands(count):
            part = torch.baddbmm(old[:, band], mix[..., band].transpose(1, 2), added)
            part, _, scale_of_part = torch.native_layer_norm(part, norm.normalized_shape, weight, bias, norm.eps)
            scale[:, 0, band] = scale_of_part[..., 0]
            if values is not None:
                values[:, band] = part
        # A token's weights sum to 1 in every head, so the offset can ride on the rows.
        rows = rows + layer.offset / layer.block.cross_attn_image_to_token.num_heads
        rows = (centre(rows) * norm.weight).to(self.dtype)
        if keys is None:
            return Keys(scale, mix.mul_(scale), rows, values)
        old_rows = centre(keys.rows.float()) * norm.weight
        return Keys(
            keys.scale * scale,
            torch.cat([keys.mix, mix], dim=1).mul_(scale),
            torch.cat([old_rows.to(self.dtype), rows], dim=1),
            values,
        )

    def _prepare_upscaling(self, shared: Tensor, offset: Tensor, high_res: list[Tensor]) -> None:
        """A transposed convolution of kernel and stride 2 is a product with (C, 4 k): a token's four pixels."""
        first, _, _, second, _ = self.decoder.output_upscaling
        weight, fixed = _pixel_weight(first), first.bias.repeat(4)[None]
        fine = second.bias.repeat(4).expand(4 * len(shared), -1)
        if self.decoder.use_high_res_features:
            finest, finer = (level.float() for level in high_res)
            fixed = fixed + _pixel_rows(finer, self.size_hw, 1)
            fine = fine + _pixel_rows(finest, self.size_hw, 2).reshape(len(fine), -1)
        self.first = Projection(
            weight.to(self.dtype), (shared @ weight).to(self.dtype), (fixed + offset @ weight).to(self.dtype)
        )
        self.second_weight, self.second_fixed = _pixel_weight(second).to(self.dtype), fine.to(self.dtype)

    def _masks(self, keys: Keys, weights: Tensor) -> Tensor:
        """Upscaled keys times the hypernetworks' weights (B, 3, C / 8): logits (B, 3, 4 h, 4 w) float16."""
        count, masks, _ = weights.shape
        height, width = self.size_hw
        rows = keys.rows @ self.first.weight
        logits = torch.empty(count, masks, height * width, 16, dtype=torch.float16, device=weights.device)
        for band in self._bands(count):
            logits[:, :, band] = self._band_logits(keys, rows, weights, band)
        # a token's pixels lie as (2, 2) of (2, 2): rows and columns of either level
        return (
            logits.view(count, masks, height, width, 2, 2, 2, 2)
            .permute(0, 1, 2, 4, 6, 3, 5, 7)
            .reshape(count, masks, 4 * height, 4 * width)
        )

    def _band_logits(self, keys: Keys, rows: Tensor, weights: Tensor, band: slice) -> Tensor:
        """(B, 3, tokens, 16) for a band of tokens."""
        _, norm, first_activation, _, second_activation = self.decoder.output_upscaling
        fixed = self.first.fixed[band] if len(self.first.fixed) > 1 else self.first.fixed
        pixels = torch.addcmul(fixed, self.first.shared[band], keys.scale[:, 0, band, None])
        pixels = pixels.baddbmm_(keys.mix[..., band].transpose(1, 2), rows).unflatten(2, (4, -1)).flatten(1, 2)
        weight, bias = norm.weight.to(self.dtype), norm.bias.to(self.dtype)
        pixels = first_activation(F.layer_norm(pixels, weight.shape, weight, bias, norm.eps))
        finer = self.second_fixed[4 * band.start : 4 * band.stop].expand(len(pixels), -1, -1)
        pixels = torch.baddbmm(finer, pixels, self.second_weight.expand(len(pixels), -1, -1))
        pixels = second_activation(pixels).view(len(pixels), -1, weights.shape[2])
        logits = torch.bmm(weights, pixels.transpose(1, 2)).clamp_(-LOGIT_LIMIT, LOGIT_LIMIT)
        return logits.unflatten(2, (-1, 16))

    def _bands(self, count: int) -> Iterator[slice]:
        """Slices of the tokens that ``count`` prompts work on at a time."""
        tokens, channels = self.layers[0].shared.shape
        size = tokens
        if self.second_weight.device.type == "cpu":
            size = max(1, CPU_BAND_BYTES // (2 * channels * count * self.dtype.itemsize))
        return (slice(start, min(start + size, tokens)) for start in range(0, tokens, size))


def _layer(block: Any, shared: Tensor, offset: Tensor, position: Tensor, dtype: torch.dtype) -> _Layer:
    look, mix = block.cross_attn_token_to_image, block.cross_attn_image_to_token
    return _Layer(
        block,
        shared,
        offset,
        key=projection(look.k_proj, shared, offset, position, dtype),
        value=projection(look.v_proj, shared, offset, None, dtype),
        query=projection(mix.q_proj, shared, offset, position, dtype),
    )


def _token_rows(grid: Tensor) -> Tensor:
    """(1, C, h, w) -> (N, C) float32."""
    return grid[0].flatten(1).T.float().contiguous()


def _pixel_weight(convolution: Any) -> Tensor:
    """(C, k, 2, 2) kernel of a transposed convolution -> (C, 4 * k)."""
    weight: Tensor = convolution.weight
    return weight.permute(0, 2, 3, 1).flatten(1)


def _pixel_rows(level: Tensor, size_hw: tuple[int, int], times: int) -> Tensor:
    """(1, k, 2^times h, 2^times w) -> (N, 4^times * k): a token's pixels in one row, coarser 2 x 2 first."""
    height, width = size_hw
    twos = (2,) * times
    split = level[0].unflatten(2, (width, *twos)).unflatten(1, (height, *twos))
    # k, h, rows of each level, w, columns of each level -> h, w, (row, column) of each level, k
    pairs = [axis for i in range(times) for axis in (2 + i, 3 + times + i)]
    return split.permute(1, 2 + times, *pairs, 0).reshape(height * width, -1)
