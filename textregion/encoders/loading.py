"""From the names that users write to a frozen encoder: aliases, tags, checkpoint files, ready models."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import AttentionPoolLatent
from torch import nn

from ..checkpoints import read_tensors, verify_checksum
from ..errors import UserError, reason_of
from ..runtime import resolve_device
from .attention_pool import AttentionPoolEncoder
from .base import Encoder, Preprocess
from .clip_vit import ClipVitEncoder
from .text_tower import Tokenizer

CLIP_CROP_SIZE = 336
"""Default input side of CLIP ViT towers of up to 336 pixels; larger ones keep their own."""

_CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_PE_SIZES = {"T16-384": "T-16-384", "S16-384": "S-16-384", "B16-224": "B-16", "L14-336": "L-14-336"}
ALIASES = {f"PE-Core-{ours}": f"PE-Core-{theirs}" for ours, theirs in _PE_SIZES.items()} | {
    "PE-Core-G14-448": "PE-Core-bigG-14-448"
}
TAG_ALIASES = {"siglip2": "webli", "siglip": "webli"}
DEFAULT_ARCHITECTURE = {
    "openai": "ViT-L/14@336px",
    "laion2b_s32b_b79k": "ViT-H/14",
    "siglip2": "ViT-L-16-SigLIP2-256",
    "meta": "PE-Core-L14-336",
}


def load_encoder(
    name: str | nn.Module,
    pretrained: str | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    preprocess: Preprocess | None = None,
    crop_size: int | None = None,
    device: str | torch.device | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> Encoder:
    """A frozen encoder by name, or from a ready open_clip model.

    Args:
        name: an architecture (``ViT-B/16``, ``PE-Core-L14-336``, any of open_clip's own names that
            :func:`supported_architectures` lists), or an open_clip model.
        pretrained: openai, laion2b_s32b_b79k, siglip2, meta, any open_clip tag, or a checkpoint file.
        tokenizer: needed with a ready model; by name the model's own.
        preprocess: normalisation and interpolation; None: what the model states, else its family's.
        crop_size: input side in pixels; None: the method's default.
        device: where to run; None: the best there is.
        cache_dir: folder that downloads are kept in.
        label: name of the encoder in caches and records.

    Raises:
        UserError: an unknown or unsupported architecture, an unknown tag, a checkpoint that cannot be had or does not
            fit.
    """
    where, _ = resolve_device(device)
    if isinstance(name, nn.Module):
        if tokenizer is None:
            raise UserError("load_encoder needs the tokenizer of a ready model: pass tokenizer=...")
        return _wrap(name, tokenizer, label or "custom", preprocess, crop_size, where)
    architecture = resolve_architecture(name)
    tag = resolve_pretrained(architecture, pretrained)
    model = _create(architecture, tag, cache_dir)
    tokenizer = tokenizer or _tokenizer(architecture, cache_dir)
    stated = preprocess or (None if _is_file(architecture, tag) else _stated_preprocess(model))
    return _wrap(model, tokenizer, label or _label(architecture, tag), stated, crop_size, where)


def resolve_architecture(name: str) -> str:
    """open_clip's name of an architecture, from the name a user writes.

    Raises:
        UserError: unknown, or with a tower that the method does not support.
    """
    plain = ALIASES.get(name, re.sub(r"@(\d+)px$", r"-\1", name).replace("/", "-"))
    if plain in supported_architectures():
        return plain
    supported = ", ".join(supported_architectures())
    if plain in open_clip.list_models():
        raise UserError(f"Architecture {name!r} has an image tower that is not supported. Supported: {supported}.")
    near = difflib.get_close_matches(plain, supported_architectures(), n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UserError(f"Unknown architecture {name!r}.{hint} Supported: {supported}.")


@lru_cache(maxsize=1)
def supported_architectures() -> tuple[str, ...]:
    """open_clip's names of all CLIP ViT, SigLIP, SigLIP2 and PE-Core architectures."""
    return tuple(name for name in open_clip.list_models() if _is_supported(open_clip.get_model_config(name)))


def _is_supported(config: Mapping[str, Any]) -> bool:
    vision = config["vision_cfg"]
    if vision.get("timm_model_name"):
        return vision.get("timm_pool") == "map" and vision["timm_model_name"].startswith("vit_")
    is_vit = isinstance(vision.get("layers"), int)
    return is_vit and not vision.get("attentional_pool") and "multimodal_cfg" not in config


def resolve_pretrained(architecture: str, pretrained: str | None) -> str:
    """An open_clip tag of the architecture, or the path of a checkpoint.

    Args:
        architecture: open_clip's own name, see :func:`resolve_architecture`.

    Raises:
        UserError: neither a tag nor a file, or no weights named where there is no usual tag.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        for tag in ("openai", "webli", "meta"):
            if tag in tags:
                return tag
        raise UserError(f"Say which weights of {architecture!r} to use: {', '.join(tags) or 'a checkpoint file'}.")
    tag = TAG_ALIASES.get(pretrained, pretrained)
    if tag in tags:
        return tag
    if os.path.isfile(pretrained):
        return pretrained
    known = ", ".join(sorted({*tags, *(a for a, t in TAG_ALIASES.items() if t in tags and a in architecture.lower())}))
    raise UserError(
        f"Weights {pretrained!r} are neither a file nor a tag of {architecture!r}: use {known or 'a checkpoint file'}."
    )


def _create(architecture: str, tag: str, cache_dir: str | os.PathLike[str] | None) -> nn.Module:
    is_file = _is_file(architecture, tag)
    if is_file:
        _check_file(Path(tag))
    config = {} if is_file else open_clip.get_pretrained_cfg(architecture, tag)
    try:
        model: nn.Module = open_clip.create_model(
            architecture,
            pretrained=tag,
            force_quick_gelu=bool(config.get("quick_gelu", False)),
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            require_pretrained=True,
        )
    except Exception as error:  # weights of another model raise errors of any kind, and so does the hub's client
        if is_file:
            raise UserError(
                f"Checkpoint {tag!r} does not fit {architecture!r} or is damaged ({reason_of(error)}): "
                "give its own architecture, or download it again."
            ) from None
        raise UserError(
            f"The {tag!r} weights of {architecture!r} could not be loaded ({reason_of(error)}): check the network, or "
            "give a checkpoint file."
        ) from None
    return model


def _check_file(path: Path) -> None:
    """Refuse what open_clip must not read: where its safe reader fails, another takes over, which may run pickles."""
    if path.suffix in (".npz", ".npy"):  # NumPy reads these, and no pickles in them
        verify_checksum(path)
    else:
        read_tensors(path, "state_dict", mapped=True)


def _tokenizer(architecture: str, cache_dir: str | os.PathLike[str] | None) -> Tokenizer:
    try:
        tokenizer: Tokenizer = open_clip.get_tokenizer(
            architecture, cache_dir=None if cache_dir is None else os.fspath(cache_dir)
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The tokenizer of {architecture!r} could not be loaded ({reason_of(error)}): check the network, or its "
            "cache folder."
        ) from None
    return tokenizer


def _wrap(
    model: nn.Module,
    tokenizer: Tokenizer,
    label: str,
    preprocess: Preprocess | None,
    crop_size: int | None,
    device: torch.device,
) -> Encoder:
    model = model.to(device).float().eval().requires_grad_(False)
    visual: Any = model.visual
    if isinstance(visual, VisionTransformer) and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock):
        own = int(visual.image_size[0])
        side = crop_size or max(own, CLIP_CROP_SIZE // visual.patch_size[0] * visual.patch_size[0])
        recipe = preprocess or _stated_preprocess(model) or Preprocess(*_CLIP_STATISTICS, "bicubic")
        return ClipVitEncoder(model, tokenizer, name=label, preprocess=recipe, crop_size=side)
    if isinstance(visual, TimmModel) and isinstance(getattr(visual.trunk, "attn_pool", None), AttentionPoolLatent):
        sigmoid = getattr(model, "logit_bias", None) is not None
        recipe = preprocess or Preprocess(*_HALF, "bicubic" if sigmoid else "bilinear")
        return AttentionPoolEncoder(
            model, tokenizer, name=label, preprocess=recipe, crop_size=int(visual.image_size[0]), sigmoid=sigmoid
        )
    raise UserError(
        f"The image tower {type(visual).__name__} is not supported: use a CLIP ViT, SigLIP, SigLIP2 or PE-Core model."
    )


def _stated_preprocess(model: nn.Module) -> Preprocess | None:
    config: Any = getattr(model.visual, "preprocess_cfg", None)
    if not config:
        return None
    mode: Literal["bilinear", "bicubic"] = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return Preprocess(tuple(config["mean"]), tuple(config["std"]), mode)


def _is_file(architecture: str, tag: str) -> bool:
    """Whether weights are a file's: a tag goes before a file of its name."""
    return tag not in open_clip.list_pretrained_tags_by_model(architecture)


def _label(architecture: str, tag: str) -> str:
    """Model and weights; a file is told from another by its size and time."""
    if not _is_file(architecture, tag):
        return f"{architecture}:{tag}"
    facts = Path(tag).stat()
    return f"{architecture}:{Path(tag).resolve()}:{facts.st_size}:{facts.st_mtime_ns}"
