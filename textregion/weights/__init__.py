"""Where weights come from, and the parts of a segmenter that are made of them."""

from __future__ import annotations

from ..encoders.sources import DEFAULT_CLIP
from .parts import (
    SegmenterParts,
    load_miniature_clip,
    load_parts,
    load_text_bank,
    miniature_options,
    uses_miniatures,
)
from .sam2 import DEFAULT_SAM2, load_sam2
from .sources import ModelSources, find_models

__all__ = [
    "DEFAULT_CLIP",
    "DEFAULT_SAM2",
    "ModelSources",
    "SegmenterParts",
    "find_models",
    "load_miniature_clip",
    "load_parts",
    "load_sam2",
    "load_text_bank",
    "miniature_options",
    "uses_miniatures",
]
