"""A frozen encoder by name, from a checkpoint file, or from a ready model."""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import torch
from open_clip.factory import load_checkpoint
from open_clip.model import set_model_preprocess_cfg
from open_clip.pretrained import download_pretrained
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from ..checkpoints.digests import verify_checksum
from ..checkpoints.reading import read_checkpoint
from ..errors import UserError, reason_of
from ..runtime import resolve_device
from .base import Encoder, Preprocess
from .models import build_model, fill
from .names import resolve_architecture, resolve_pretrained
from .text_tower import Tokenizer
from .wrapping import stated_preprocess, wrap


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
        label: what the encoder's name begins with; a digest of its weights follows.

    Raises:
        UserError: an unknown or unsupported architecture, an unknown tag, a checkpoint that cannot be had or does not
            fit.
    """
    where, _ = resolve_device(device)
    if isinstance(name, nn.Module):
        if tokenizer is None:
            raise UserError("load_encoder needs the tokenizer of a ready model: pass tokenizer=...")
        return wrap(name, tokenizer, label or "custom", preprocess, crop_size, where)
    architecture = resolve_architecture(name)
    tag = resolve_pretrained(architecture, pretrained)
    model = _load(architecture, tag, cache_dir)
    tokenizer = tokenizer or _tokenizer(architecture, cache_dir)
    is_file = _is_file(architecture, tag)
    stated = preprocess or (None if is_file else stated_preprocess(model))
    # The same model, whichever way its activation was named.
    label = label or architecture.removesuffix("-quickgelu")
    return wrap(model, tokenizer, label, stated, crop_size, where, None if is_file else tag)


def _load(architecture: str, tag: str, cache_dir: str | os.PathLike[str] | None) -> nn.Module:
    is_file = _is_file(architecture, tag)
    stated = {} if is_file else open_clip.get_pretrained_cfg(architecture, tag)
    config = open_clip.get_model_config(architecture)
    if stated.get("quick_gelu"):
        config["quick_gelu"] = True
    path = Path(tag) if is_file else _download(architecture, tag, cache_dir)
    model = build_model(config)
    try:
        if path.suffix in (".npz", ".npy"):  # NumPy reads these, and no pickles in them
            verify_checksum(path)
            load_checkpoint(model, os.fspath(path))
        else:
            fill(model, read_checkpoint(path).tensors)
    except UserError:
        raise
    except Exception as error:  # weights of another model raise errors of any kind
        raise UserError(
            f"Checkpoint {os.fspath(path)!r} does not fit {architecture!r} ({reason_of(error)}): "
            "give its own architecture."
        ) from None
    if stated:
        set_model_preprocess_cfg(model, merge_preprocess_dict(PreprocessCfg(), stated))
    return model


def _download(architecture: str, tag: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    config = open_clip.get_pretrained_cfg(architecture, tag)
    try:
        return Path(download_pretrained(config, cache_dir=None if cache_dir is None else os.fspath(cache_dir)))
    except Exception as error:  # the hub's client raises errors of any kind
        raise UserError(
            f"The {tag!r} weights of {architecture!r} could not be loaded ({reason_of(error)}): check the network, or "
            "give a checkpoint file."
        ) from None


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


def _is_file(architecture: str, tag: str) -> bool:
    """Whether weights are a file's: a tag goes before a file of its name."""
    return tag not in open_clip.list_pretrained_tags_by_model(architecture)
