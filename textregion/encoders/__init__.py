"""Frozen image-text models behind one contract, loaded through open_clip."""

from __future__ import annotations

from .attention_pool import AttentionPoolEncoder
from .base import Encoder, PatchFeatures, Preprocess
from .clip_vit import ClipVitEncoder
from .loading import load_encoder
from .names import supported_architectures

__all__ = [
    "AttentionPoolEncoder",
    "ClipVitEncoder",
    "Encoder",
    "PatchFeatures",
    "Preprocess",
    "load_encoder",
    "supported_architectures",
]
