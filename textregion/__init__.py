"""TextRegion: text-aligned region tokens from frozen image-text models and SAM 2 masks (arXiv 2505.23769)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .encoders import Encoder, load_encoder
    from .errors import UserError
    from .index import RegionIndex
    from .masks import MaskGenerator
    from .options import SegmenterOptions
    from .region_masks import RegionMasks
    from .regions import RegionTokens
    from .segmenter import Segmentation, TextRegionSegmenter
    from .weights import load_sam2
    from .words import ClassWords

_HOME = {
    "ClassWords": "words",
    "Encoder": "encoders",
    "MaskGenerator": "masks",
    "RegionIndex": "index",
    "RegionMasks": "region_masks",
    "RegionTokens": "regions",
    "Segmentation": "segmenter",
    "SegmenterOptions": "options",
    "TextRegionSegmenter": "segmenter",
    "UserError": "errors",
    "load_encoder": "encoders",
    "load_sam2": "weights",
}
"""Each public name's module, loaded when the name is first asked for: a command is there before PyTorch is."""

__all__ = [
    "ClassWords",
    "Encoder",
    "MaskGenerator",
    "RegionIndex",
    "RegionMasks",
    "RegionTokens",
    "Segmentation",
    "SegmenterOptions",
    "TextRegionSegmenter",
    "UserError",
    "__version__",
    "load_encoder",
    "load_sam2",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
