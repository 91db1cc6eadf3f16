"""TextRegion: text-aligned region tokens from frozen image-text models and SAM 2 masks (arXiv 2505.23769)."""

from .encoders import Encoder, load_encoder
from .errors import UserError
from .masks import MaskGenerator
from .options import SegmenterOptions
from .region_masks import RegionMasks
from .regions import RegionTokens
from .segmenter import Segmentation, TextRegionSegmenter
from .text import ClassWords
from .version import __version__
from .weights import load_sam2

__all__ = [
    "ClassWords",
    "Encoder",
    "MaskGenerator",
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
