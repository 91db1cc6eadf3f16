"""A frozen encoder by name, from a file or folder of weights, or from a ready model."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.factory import load_checkpoint
from torch import nn

from ..checkpoints.conversion import to_open_clip
from ..checkpoints.digests import verify_checksum
from ..checkpoints.hub import fetch
from ..checkpoints.naming import naming_of, what_is_wrong
from ..checkpoints.reading import Checkpoint, read_checkpoint
from ..checkpoints.state_dicts import OPENAI_METADATA
from ..errors import UserError, reason_of
from ..runtime import resolve_device
from .base import Encoder, Preprocess
from .models import build_model, fill
from .names import supported_architectures
from .published import QUICK
from .sources import ClipSource, find_clip
from .text_tower import Tokenizer
from .tokenizers import load_tokenizer
from .wrapping import wrap

logger = logging.getLogger(__name__)


def load_encoder(
    name: str | nn.Module | None,
    pretrained: str | os.PathLike[str] | None = None,
    *,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    crop_size: int | None = None,
    device: str | torch.device | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> Encoder:
    """A frozen encoder by name, or from a ready open_clip model.

    Args:
        name: an architecture (``ViT-B/16``, ``PE-Core-L14-336``, any of open_clip's own names that
            :func:`supported_architectures` lists), ``hf-hub:org/name``, ``local-dir:DIR``, or an open_clip model;
            None: the architecture that the weights tell.
        pretrained: openai, laion2b_s32b_b79k, siglip2, meta, any open_clip tag; a checkpoint file in the form of
            open_clip, OpenAI, Meta or transformers; a folder of one; ``hf-hub:org/name``.
        tokenizer: needed with a ready model; else a folder or a repository of the hub; None: one beside the weights,
            or the architecture's own.
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
    named = tokenizer if isinstance(tokenizer, (str, os.PathLike)) else None
    ready = None if isinstance(tokenizer, (str, os.PathLike)) else tokenizer
    if isinstance(name, nn.Module):
        if ready is None:
            raise UserError("load_encoder needs the tokenizer of a ready model: pass tokenizer=...")
        return wrap(name, ready, label or "custom", preprocess, crop_size, where)
    source = find_clip(name, pretrained, download_root=cache_dir, tokenizer=named)
    if source.needs:
        fetch(source.needs)
        source = find_clip(name, pretrained, download_root=cache_dir, tokenizer=named)
    ready = ready or load_tokenizer(source.config["text_cfg"], source.tokenizer)
    model, origin = _load(source)
    # The same model, whichever way its activation was named.
    label = label or source.label.removesuffix(QUICK)
    return wrap(model, ready, label, preprocess or source.preprocess, crop_size, where, origin)


def _load(source: ClipSource) -> tuple[nn.Module, str | None]:
    """The model of a source that is on this machine, and whose weights they are."""
    path = source.weights
    assert path is not None  # what was missing was fetched
    if path.suffix in (".npz", ".npy"):  # NumPy reads these, and no pickles in them
        verify_checksum(path)
        model = build_model(source.config)
        with _fitting(path, source):
            load_checkpoint(model, os.fspath(path))
        return model, source.tag
    checkpoint = read_checkpoint(path)
    naming = naming_of(checkpoint.tensors)
    wrong = what_is_wrong(checkpoint.tensors, "image-text")
    if wrong is not None:
        raise UserError(f"Checkpoint {os.fspath(path)!r} {wrong}.")
    tag = "openai" if checkpoint.metadata.keys() >= OPENAI_METADATA else source.tag
    model = build_model(_with_activation(source, checkpoint))
    with _fitting(path, source):
        fill(model, to_open_clip(checkpoint.tensors, naming, model))
    return model, tag


def _with_activation(source: ClipSource, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The config with the activation that the weights were trained with, as far as anything tells it."""
    config = source.config
    if source.activation_stated or "timm_model_name" in config["vision_cfg"]:
        return config
    if checkpoint.metadata.keys() >= OPENAI_METADATA:
        return {**config, "quick_gelu": True}
    sibling = f"{source.label}{QUICK}"
    if sibling in supported_architectures():
        logger.warning(
            "Nothing tells whether the weights in %s want GELU or QuickGELU: they run as %s, with GELU; where they are "
            "OpenAI's, or were trained from theirs, give --clip_architecture %s.",
            source.weights,
            source.label,
            sibling,
        )
    return config


@contextlib.contextmanager
def _fitting(path: Path, source: ClipSource) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # weights of another model raise errors of any kind
        raise UserError(
            f"Checkpoint {os.fspath(path)!r} does not fit {source.label!r} ({reason_of(error)}): "
            "give its own architecture."
        ) from None
