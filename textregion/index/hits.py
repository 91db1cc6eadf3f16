"""Answers: the best regions, one a picture or all that do not lie in one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from torch import Tensor

from .relevance import FOUND
from .rows import decode_masks, foreground
from .store import Entry
from .table import Bools, Floats, Table, highest, ordered

LEAST_CANDIDATES = 100
"""Best of the scan that are looked at in float16."""
NESTED = 0.8
"""Share of the smaller of two regions inside the other from which both are one answer."""


@dataclass(frozen=True, eq=False)
class Hit:
    """A region of a picture of the index."""

    entry: Entry = field(repr=False)
    region: int
    """Which of the picture's."""
    score: float = 0.0
    """Product of token and question: the cosine, for a single word or region."""
    relevance: float | None = None
    """How likely it shows what the words mean, from 0 to 1, see :mod:`textregion.index.relevance`; None where a region
    was asked for."""

    @property
    def picture(self) -> str:
        """Absolute path."""
        return self.entry.facts.path

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the picture."""
        return self.entry.facts.size_hw

    @property
    def box_xywh(self) -> tuple[int, int, int, int]:
        """x, y, width, height in the picture's pixels."""
        x, y, width, height = self._column("boxes_xywh").tolist()
        return x, y, width, height

    @property
    def area(self) -> float:
        """In the picture's pixels, from the low-resolution mask."""
        return float(self._column("areas"))

    @property
    def sam_score(self) -> float:
        """SAM 2's predicted IoU."""
        return float(self._column("scores"))

    @property
    def token(self) -> Tensor:
        """(D,) float32; ask with it for more like this."""
        return self._column("tokens").float()

    def mask(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool, at the picture's size."""
        return foreground(self.low_mask(), self.size_hw)

    def low_mask(self) -> npt.NDArray[np.bool_]:
        """(h, w) bool, as it is kept."""
        return decode_masks((self.mask_rle,), self.entry.facts.mask_hw)[0]

    @property
    def mask_rle(self) -> bytes:
        """The same in COCO's compressed RLE."""
        return self.entry.part.mask_rle(self._row)

    @property
    def _row(self) -> int:
        return self.entry.part.span(self.entry.picture).start + self.region

    def _column(self, name: str) -> Tensor:
        return self.entry.part.columns[name][self._row]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a JSON file has them."""
        counts = self.mask_rle.decode("ascii")
        return {
            "picture": self.picture,
            "region": self.region,
            "score": round(self.score, 6),
            "relevance": self.relevance,
            "box_xywh": list(self.box_xywh),
            "area": round(self.area, 1),
            "size_hw": list(self.size_hw),
            "mask": {"size": list(self.entry.facts.mask_hw), "counts": counts},
        }


class Hits(list[Hit]):
    """Hits by falling score; whether anything like what was asked for is there at all."""

    @property
    def relevance(self) -> float | None:
        """The highest of all hits; None where a region was asked for, or there are none."""
        return max((hit.relevance for hit in self if hit.relevance is not None), default=None)

    @property
    def found(self) -> bool | None:
        """Whether it is as high as where the thing really is; None where that is not known."""
        return None if self.relevance is None else self.relevance >= FOUND

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.relevance is None:
            return f"{len(self)} regions, the most similar first"
        what = "found" if self.found else "nothing like it seems to be here"
        return f"{what} (relevance {self.relevance:.2f})"


def best_of_pictures(table: Table, question: Tensor, scores: Floats, eligible: Bools, k: int) -> list[Hit]:
    """The best region of each of the k best pictures.

    Args:
        table: N regions of P pictures.
        question: (D,).
        scores: (N,) of the scan.
        eligible: (P,) which pictures may be answers.
        k: how many.
    """
    hits = []
    for picture in table.best_pictures(scores, eligible, max(LEAST_CANDIDATES, 2 * k)).tolist():
        exact = table.rescored(question, picture)
        region = int(exact.argmax())
        hits.append(Hit(table.entries[picture], region, float(exact[region])))
    return _ranked(hits)[:k]


def best_regions(
    table: Table, question: Tensor, scores: Floats, eligible: Bools, k: int, but: Sequence[Hit] = ()
) -> list[Hit]:
    """The k best regions, of those that lie in one another the better.

    Args:
        table, question, scores, eligible, k: as in :func:`best_of_pictures`.
        but: regions that are no answers, nor what lies in them.
    """
    usable = np.where(table.in_regions(eligible), scores, -np.inf).astype(np.float32)
    count = max(LEAST_CANDIDATES, 2 * k)
    while True:
        places = highest(usable, count)
        hits = _unnested(_ranked(_rescored(table, question, places)), list(but))
        if len(hits) >= k or len(places) < count:
            return hits[:k]
        count *= 2


def _rescored(table: Table, question: Tensor, places: npt.NDArray[np.int64]) -> list[Hit]:
    pictures = table.picture_of(places)
    hits = []
    for picture in np.unique(pictures).tolist():
        exact = table.rescored(question, picture)
        for region in (places[pictures == picture] - table.starts[picture]).tolist():
            hits.append(Hit(table.entries[picture], region, float(exact[region])))
    return hits


def _ranked(hits: list[Hit]) -> list[Hit]:
    names = [f"{hit.picture}\0{hit.region:09d}" for hit in hits]
    return [hits[place] for place in ordered([hit.score for hit in hits], names)]


def _unnested(hits: Sequence[Hit], before: list[Hit]) -> list[Hit]:
    """Those that lie in no better one of the same picture, nor hold one."""
    kept: dict[str, list[Hit]] = {}
    for hit in before:
        kept.setdefault(hit.picture, []).append(hit)
    left = []
    for hit in hits:
        others = kept.setdefault(hit.picture, [])
        if not _is_nested(hit, others):
            others.append(hit)
            left.append(hit)
    return left


def _is_nested(hit: Hit, others: Sequence[Hit]) -> bool:
    if not others:
        return False
    own, theirs = _rle(hit), [_rle(other) for other in others]
    in_others = coco_mask.iou([own], theirs, [1] * len(theirs))[0]  # a "crowd" is divided by the first area alone
    in_own = np.array([coco_mask.iou([other], [own], [1])[0, 0] for other in theirs])
    return bool((np.maximum(in_others, in_own) >= NESTED).any())


def _rle(hit: Hit) -> dict[str, Any]:
    return {"size": list(hit.entry.facts.mask_hw), "counts": hit.mask_rle}
