"""Where weights come from, and the parts of a segmenter that are made of them."""

from __future__ import annotations

from .parts import (
    DEFAULT_CLIP,
    SegmenterParts,
    load_miniature_clip,
    load_parts,
    load_text_bank,
    miniature_options,
    resolve_clip,
    uses_miniatures,
)
from .sam2 import DEFAULT_SAM2, check_sam2, load_sam2

__all__ = [
    "DEFAULT_CLIP",
    "DEFAULT_SAM2",
    "SegmenterParts",
    "check_sam2",
    "load_miniature_clip",
    "load_parts",
    "load_sam2",
    "load_text_bank",
    "miniature_options",
    "resolve_clip",
    "uses_miniatures",
]
