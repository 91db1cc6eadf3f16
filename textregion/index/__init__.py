"""Encode once, ask anything: an index of regions over folders of pictures."""

from .compacting import Compaction
from .growing import Growth
from .hits import Hit, Hits
from .region_index import RegionIndex
from .settings import IndexSettings

__all__ = ["Compaction", "Growth", "Hit", "Hits", "IndexSettings", "RegionIndex"]
