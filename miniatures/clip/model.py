"""The miniature CLIP seen from its training: the start of its weights, and its forward passes with gradients.

The library's encoder answers the same questions for inference. Here every step keeps its gradient, the text
is cut to its longest sentence, and attention runs in float32 under bfloat16 autocast, where a CPU is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor, nn

Tokenizer = Callable[[Sequence[str]], Tensor]


def build_clip(model_cfg: dict[str, Any], tokenizer: Tokenizer) -> open_clip.CLIP:
    """An untrained CLIP whose text tower starts as a bag of words."""
    model = open_clip.CLIP(**model_cfg)
    _start_as_bag_of_words(model, tokenizer)
    last: ResidualAttentionBlock = model.visual.transformer.resblocks[-1]
    # A pooled token is a sum over a region of any size: without this bias the head does not depend on it.
    last.attn.out_proj.bias.requires_grad_(False)
    return model


@torch.no_grad()
def _start_as_bag_of_words(model: open_clip.CLIP, tokenizer: Tokenizer) -> None:
    """Make the features of different names far apart from the first step on.

    At the usual start all sentences are nearly collinear (cosine 0.95), and kinds of things are learned only
    after a thousand steps. Here the first block averages the words, the words of the templates share one
    direction, and the projection starts blind to it.
    """
    embedding = model.token_embedding.weight
    nn.init.normal_(embedding, std=1.0)
    template_words = tokenizer([template("") for template in OPENAI_IMAGENET_TEMPLATES]).unique()
    shared = embedding[template_words[-1]].clone()
    shared -= shared.mean()
    embedding[template_words] = shared
    for layer, block in enumerate(model.transformer.resblocks):
        nn.init.zeros_(block.mlp.c_proj.weight)
        nn.init.zeros_(block.attn.out_proj.weight)
        if layer == 0:
            identity = torch.eye(model.transformer.width)
            nothing = torch.zeros_like(identity)
            block.attn.in_proj_weight.copy_(torch.cat([nothing, nothing, identity]))
            block.attn.out_proj.weight.copy_(4 * identity)
    end = tokenizer([""])[0].max()
    embedding[end] = 0.1 * shared  # the sentence is read off here: mostly what the block gathers
    direction = F.normalize(shared, dim=0)
    blind = torch.eye(len(direction)) - torch.outer(direction, direction)
    rotation = torch.linalg.qr(torch.randn(model.text_projection.shape)).Q
    model.text_projection.copy_(blind @ rotation)


def _attend(
    attn: nn.MultiheadAttention, queries: Tensor, tokens: Tensor, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Attention of the queries (B, Q, C) to the tokens (B, L, C) -> attended (B, Q, C), values (B, L, C)."""
    width = tokens.shape[-1]
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    q = F.linear(queries, weight[:width], bias[:width])
    k, v = F.linear(tokens, weight[width:], bias[width:]).split(width, dim=-1)
    q_heads, k_heads, v_heads = (x.float().unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    with torch.autocast(tokens.device.type, enabled=False):
        attended = F.scaled_dot_product_attention(q_heads, k_heads, v_heads, is_causal=causal)
    return attn.out_proj(attended.transpose(1, 2).flatten(2)), v


def _run_block(block: ResidualAttentionBlock, x: Tensor, causal: bool = False) -> Tensor:
    """A whole block on (B, L, C)."""
    normed = block.ln_1(x)
    x = x + _attend(block.attn, normed, normed, causal)[0]
    return x + block.mlp(block.ln_2(x))


def encode_pictures(visual: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised pictures (B, 3, S, S) -> class embeddings (B, D), last block's values (B, C, g, g)."""
    x = visual._embeds(images)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = _run_block(block, x)
    normed = last.ln_1(x)
    attended, values = _attend(last.attn, normed[:, :1], normed)
    y = x[:, :1] + attended
    y = (y + last.mlp(last.ln_2(y)))[:, 0]
    side = visual.grid_size[0]
    return project(visual, y), values[:, 1:].transpose(1, 2).unflatten(-1, (side, side))


def project(visual: VisionTransformer, y: Tensor) -> Tensor:
    """The tower's tail: (..., C) -> normalised embeddings (..., D), float32."""
    embedded: Tensor = visual.ln_post(y) @ visual.proj
    return F.normalize(embedded.float(), dim=-1)


def pooled_head(visual: VisionTransformer, pooled: Tensor, pool_mlp: bool) -> Tensor:
    """Values pooled over patches (..., C) -> normalised embeddings (..., D): step 8 of the method."""
    last = visual.transformer.resblocks[-1]
    y = last.attn.out_proj(pooled)
    if pool_mlp:
        y = y + last.mlp(last.ln_2(y))
    return project(visual, y)


def encode_words(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """Tokens (K, 77) -> normalised embeddings (K, D). Nothing after the end of a sentence is computed."""
    length = int(tokens.argmax(dim=1).max()) + 1
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    for block in model.transformer.resblocks:
        x = _run_block(block, x, causal=True)
    ends = model.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)]
    return F.normalize((ends @ model.text_projection).float(), dim=-1)


@torch.no_grad()
def ensemble(model: open_clip.CLIP, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
    """Names -> (K, D): the normalised mean over the 80 ImageNet templates."""
    rows = []
    for name in names:
        tokens = tokenizer([template(name) for template in OPENAI_IMAGENET_TEMPLATES])
        rows.append(encode_words(model, tokens.to(model.logit_scale.device)).mean(dim=0))
    return F.normalize(torch.stack(rows), dim=-1)
