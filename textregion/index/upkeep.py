"""What an index holds, whether all of it is sound, and how much of the exact answers the quick search finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .ann import Approximate
from .growing import read_failed
from .hits import LEAST_CANDIDATES
from .part import SUFFIX, damaged, verify_part
from .rows import decode_masks
from .settings import IndexSettings
from .store import Store
from .table import Floats, Table, highest
from .vectors import Vectors

Scan = Callable[[Tensor], Floats]
DEPTH = 10
"""Recall is measured among that many best regions."""
PROBES = 100
"""Regions of the index that are asked for."""
PROBE_WORDS = (
    *("dog", "cat", "bird", "horse", "person", "face", "hand", "car", "truck", "bicycle", "wheel", "boat", "house"),
    *("window", "door", "tree", "flower", "grass", "sky", "cloud", "water", "sand", "snow", "road", "bridge", "sign"),
    *("chair", "table", "lamp", "book", "cup", "bottle", "plate", "food", "fruit", "shoe", "hat", "bag", "phone"),
    *("screen", "ball", "kite", "red", "blue", "shadow"),
)


@dataclass(frozen=True)
class Status:
    """What an index holds."""

    folder: Path
    settings: IndexSettings
    pictures: int
    regions: int
    parts: int
    gone: int
    """Pictures with a tombstone, whose rows compaction will drop."""
    part_bytes: int
    cache_bytes: int
    failed: int
    """Bad pictures that are not in the index."""
    damaged: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, table: Table) -> Status:
        """That of an index which was opened."""
        catalogue = table.catalogue
        failed = sum(path not in catalogue.live for path in read_failed(store.folder))
        return cls(
            store.folder,
            store.settings,
            len(catalogue.live),
            catalogue.regions,
            len(catalogue.loaded),
            int((~catalogue.alive).sum()),
            _size(store.parts),
            _size(store.cache),
            failed,
            catalogue.damaged,
        )

    def lines(self) -> list[str]:
        """For a person to read."""
        per_region = self.part_bytes / max(self.regions, 1)
        lines = [
            f"{str(self.folder)!r}: {self.pictures} pictures with {self.regions} regions in {self.parts} parts",
            f"{_shown(self.part_bytes)} ({per_region:.0f} bytes a region) and {_shown(self.cache_bytes)} of cache",
            f"encoder {self.settings.encoder} in {self.settings.dtype}, "
            f"SAM 2 {self.settings.sam2} in {self.settings.sam2_dtype}",
        ]
        if self.gone:
            lines.append(f"{self.gone} pictures are gone and still take space: --compact drops them")
        if self.failed:
            lines.append(f"{self.failed} pictures could not be encoded: see {str(self.folder / 'failed.jsonl')!r}")
        return [*lines, *(f"left out: {problem}" for problem in self.damaged)]


@dataclass(frozen=True)
class Check:
    """What was read and measured."""

    parts: int
    text_recall: float | None
    """Share of the ten best regions for a word that the quick search finds; None without regions or a text model."""
    image_recall: float | None
    """The same for tokens of regions of the index, which are themselves left out."""
    ann_text_recall: float | None = None
    """Of the approximate index for words, where one was made."""
    ann_image_recall: float | None = None

    def lines(self) -> list[str]:
        """For a person to read."""
        lines = [f"{self.parts} parts are sound"]
        figures = {
            "words": self.text_recall,
            "regions": self.image_recall,
            "words, approximate": self.ann_text_recall,
            "regions, approximate": self.ann_image_recall,
        }
        for what, recall in figures.items():
            if recall is not None:
                lines.append(f"recall of the {DEPTH} best for {what}: {recall:.3f}")
        return lines


def check(
    store: Store, table: Table, encode: Callable[[Sequence[str]], Tensor] | None, ann: Approximate | None = None
) -> Check:
    """Read every part and its copy in the cache, and measure recall against products of all float16 tokens.

    Args:
        store: the folder.
        table: what is in it.
        encode: K words -> (K, D); None: recall for words is not measured.
        ann: its approximate index, if there is one.

    Raises:
        UserError: a part that is damaged.
    """
    for one in table.catalogue.loaded:
        path = store.parts / (one.part.name + SUFFIX)
        verify_part(path)
        for picture, facts in enumerate(one.part.pictures):
            masks = decode_masks(one.part.rows(picture).masks_rle, facts.mask_hw)
            if not one.part.columns["tokens"][one.part.span(picture)].isfinite().all() or len(masks) != facts.regions:
                raise damaged(path, f"regions of {facts.path!r}")
        if not torch.equal(Vectors.of(one.part.tokens).levels, one.vectors.levels):
            raise UserError(f"The cache {str(store.cache)!r} does not fit the parts: delete it, it is made again.")
    living = np.flatnonzero(table.alive_regions)
    if len(living) <= DEPTH:
        return Check(len(table.catalogue.loaded), None, None)
    places = np.random.default_rng(0).choice(living, min(PROBES, len(living)), replace=False)
    tokens = [F.normalize(table.token(place), dim=0) for place in places.tolist()]
    text = [] if encode is None else list(encode(PROBE_WORDS).detach().float().cpu())
    scans: list[Scan] = [table.scan]
    if ann is not None:
        scans.append(lambda question: table.at(question, ann.candidates(question, table.alive, LEAST_CANDIDATES)))
    figures = [
        value
        for scan in scans
        for value in (recall(table, text, scan) if text else None, recall(table, tokens, scan, places.tolist()))
    ]
    return Check(len(table.catalogue.loaded), *figures)


def recall(table: Table, questions: Sequence[Tensor], scan: Scan, but: Sequence[int] = ()) -> float:
    """Mean share of the ten best regions that a scan and rescoring find.

    Args:
        table: N regions.
        questions: (D,) each.
        scan: (D,) -> (N,) scores, of which the highest are looked at again.
        but: for each question a region that is no answer to it.
    """
    shares = []
    for number, question in enumerate(questions):
        usable = table.alive_regions.copy()
        if but:
            usable[but[number]] = False
        depth = min(DEPTH, int(usable.sum()))
        exact = _only(table.exact(question), usable)
        candidates = highest(_only(scan(question), usable), LEAST_CANDIDATES)
        least = np.partition(exact, len(exact) - depth)[len(exact) - depth]
        shares.append(min(int((exact[candidates] >= least - 1e-6).sum()), depth) / depth)
    return float(np.mean(shares))


def _only(scores: Floats, usable: np.ndarray) -> Floats:
    return np.where(usable, scores, -np.inf).astype(np.float32)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shown(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
