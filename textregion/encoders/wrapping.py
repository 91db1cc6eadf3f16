"""An encoder around a model of open_clip: which family it belongs to, and how it wants its input."""

from __future__ import annotations

from typing import Any, Literal

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import AttentionPoolLatent
from torch import nn

from ..errors import UserError
from .attention_pool import AttentionPoolEncoder
from .base import Encoder, Preprocess
from .clip_vit import ClipVitEncoder
from .identity import encoder_name
from .text_tower import Tokenizer

CLIP_CROP_SIZE = 336
"""Default input side of CLIP ViT towers of up to 336 pixels; larger ones keep their own."""

_CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def wrap(
    model: nn.Module,
    tokenizer: Tokenizer,
    label: str,
    preprocess: Preprocess | None,
    crop_size: int | None,
    device: torch.device,
    origin: str | None = None,
) -> Encoder:
    """The encoder around an open_clip model, in the way of its family.

    Args:
        label: what its name begins with.
        preprocess: None: what the model states, else its family's.
        crop_size: None: the method's default.
        origin: see :attr:`Encoder.weights_origin`.

    Raises:
        UserError: an image tower that the method does not support.
    """
    model = model.to(device).float().eval().requires_grad_(False)
    visual: Any = model.visual
    if isinstance(visual, VisionTransformer) and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock):
        own = int(visual.image_size[0])
        side = crop_size or max(own, CLIP_CROP_SIZE // visual.patch_size[0] * visual.patch_size[0])
        recipe = preprocess or stated_preprocess(model) or Preprocess(*_CLIP_STATISTICS, "bicubic")
        name = encoder_name(label, model, tokenizer, recipe)
        return ClipVitEncoder(model, tokenizer, name=name, preprocess=recipe, crop_size=side, weights_origin=origin)
    if isinstance(visual, TimmModel) and isinstance(getattr(visual.trunk, "attn_pool", None), AttentionPoolLatent):
        sigmoid = getattr(model, "logit_bias", None) is not None
        recipe = preprocess or Preprocess(*_HALF, "bicubic" if sigmoid else "bilinear")
        name, side = encoder_name(label, model, tokenizer, recipe), int(visual.image_size[0])
        return AttentionPoolEncoder(
            model, tokenizer, name=name, preprocess=recipe, crop_size=side, sigmoid=sigmoid, weights_origin=origin
        )
    raise UserError(
        f"The image tower {type(visual).__name__} is not supported: use a CLIP ViT, SigLIP, SigLIP2 or PE-Core model."
    )


def stated_preprocess(model: nn.Module) -> Preprocess | None:
    """What a model of open_clip says about its input."""
    config: Any = getattr(model.visual, "preprocess_cfg", None)
    if not config:
        return None
    mode: Literal["bilinear", "bicubic"] = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return Preprocess(tuple(config["mean"]), tuple(config["std"]), mode)
