"""Region tokens of pictures on disk, so that a second run or another task need not encode them again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from textregion import RegionTokens, TextRegionSegmenter, UserError
from textregion.files import cannot_write
from textregion.image import RGB

logger = logging.getLogger(__name__)


class RegionCache:
    """Region tokens of pictures, kept on disk between runs and tasks.

    Keyed by the picture's content, the models and every option that the regions depend on; the least recently used
    leave when the folder outgrows its bound.

    Args:
        segmenter: encodes what is not there.
        folder: None: nothing is kept.
        max_gb: bound of the folder, in 10^9 bytes.
    """

    def __init__(self, segmenter: TextRegionSegmenter, folder: Path | None = None, max_gb: float = 20.0) -> None:
        self._segmenter, self._folder, self._max_bytes = segmenter, folder, max_gb * 1e9
        self._facts = b"" if folder is None else _facts(segmenter)
        self.encoded = self.reused = 0
        self._told = False

    def encode(self, image: RGB, path: Path) -> RegionTokens:
        """The regions of a picture, from the cache where they are there.

        Args:
            image: the picture as it was read.
            path: its file.
        """
        kept = self._path(path)
        regions = self._load(kept) if kept else None
        if regions is not None and self._is_of(image, regions):
            self.reused += 1
            return regions.to(self._segmenter.encoder.device)
        regions = self._segmenter.encode(image)
        self.encoded += 1
        if kept:
            self._store(regions, kept)
        return regions

    def _path(self, path: Path) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(self._facts + path.read_bytes()).hexdigest()}.safetensors"

    def _load(self, kept: Path) -> RegionTokens | None:
        if not kept.is_file():
            return None
        try:
            regions = RegionTokens.load(kept)
            os.utime(kept)  # the time of the last use
            return regions
        except UserError as error:
            logger.warning("%s", error)
        except OSError as error:
            logger.debug("another process removed %s (%s)", kept, error)
        return None

    def _is_of(self, image: RGB, regions: RegionTokens) -> bool:
        """Whether regions can be this picture's, made by this encoder; a file may have been put there by hand."""
        return regions.encoder == self._segmenter.encoder.name and regions.size_hw == image.shape[:2]

    def _store(self, regions: RegionTokens, kept: Path) -> None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            regions.save(kept)
            self._shrink(kept.parent)
        except (OSError, UserError) as error:
            reason = error if isinstance(error, UserError) else cannot_write(kept, error)
            if not self._told:
                logger.warning("Regions are not kept, the run goes on without: %s", reason)
            self._told = True

    def _shrink(self, folder: Path) -> None:
        facts = [(file.stat(), file) for file in folder.glob("*.safetensors")]
        total = sum(stat.st_size for stat, _ in facts)
        for stat, file in sorted(facts, key=lambda pair: pair[0].st_mtime_ns):
            if total <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            total -= stat.st_size


def _facts(segmenter: TextRegionSegmenter) -> bytes:
    """All that a picture's regions depend on besides the picture; every value of the weights is read for it."""
    options = segmenter.options
    facts = [
        segmenter.model_names,
        segmenter.encoder.crop_size,
        segmenter.dtypes,
        options.of_regions(),
        options.uncovered == "dense",
    ]
    return json.dumps(facts, sort_keys=True).encode()
