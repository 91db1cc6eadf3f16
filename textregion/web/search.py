"""Asking an index: its pictures, whose regions are there already, and the regions that fit a question."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from torch import Tensor

from ..errors import UserError
from ..export import MAX_PALETTE
from ..image import RGB, read_rgb
from ..index import Hit, RegionIndex
from ..index.hits import FOUND
from ..region_masks import RegionMasks
from ..regions import RegionTokens
from ..segmenter import TextRegionSegmenter
from .encodings import Encodings
from .pictures import Pictures, picture_id, printable
from .questions import check_words, question

MOST_HITS = 1200
"""A page that is scrolled further ends."""
_SMOOTHING = 4
"""Outlines are drawn around masks that were enlarged so many times."""


@dataclass(frozen=True)
class IndexedPicture:
    """A picture of an index; see :class:`ServedPicture`."""

    id: str
    name: str
    path: str
    index: RegionIndex

    def read(self) -> RGB:
        """Its pixels, if the file is still the one that was encoded: its regions would fit no other."""
        try:
            with open(self.path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise UserError(
                f"Picture {self.name!r} cannot be read ({error.strerror}): index its folder again."
            ) from None
        if hashlib.sha256(content).hexdigest() != self.hits()[0].entry.facts.sha256:
            raise UserError(f"Picture {self.name!r} has changed since it was encoded: index its folder again.")
        return read_rgb(io.BytesIO(content), f"Picture {self.name!r}")

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        """Its regions as the index has them."""
        hits = self.hits()
        inside = torch.from_numpy(np.stack([hit.low_mask() for hit in hits])).half()
        scores = torch.tensor([hit.sam_score for hit in hits])
        size_hw = hits[0].size_hw
        masks = RegionMasks(inside, torch.arange(len(hits)), scores, torch.ones(len(hits)), size_hw)
        tokens = torch.stack([hit.token for hit in hits])
        return RegionTokens(tokens, masks, size_hw, size_hw, self.index.settings.encoder)

    def hits(self) -> list[Hit]:
        """Its regions, at least one."""
        hits = self.index.regions(self.path)
        if not hits:
            raise UserError(f"Picture {self.name!r} has no regions in the index: index its folder again.")
        return hits


def indexed_pictures(index: RegionIndex) -> list[IndexedPicture]:
    """The pictures of an index, which go by their names below the folder that they share."""
    paths = index.pictures
    shared = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return [IndexedPicture(picture_id(path), printable(os.path.relpath(path, shared)), path, index) for path in paths]


class Like(BaseModel):
    """A region of a picture."""

    picture: str
    region: int = Field(ge=0)


class SearchQuestion(BaseModel):
    """What is looked for, and which of the answers are asked for."""

    words: list[str] = Field(default=[], max_length=MAX_PALETTE)
    minus: list[str] = Field(default=[], max_length=MAX_PALETTE)
    like: Like | None = None
    start: int = Field(default=0, ge=0, le=MOST_HITS)
    count: int = Field(default=24, ge=1, le=100)


class SearchDesk:
    """Answers what the page asks an index.

    Args:
        index: which is asked.
        pictures: all pictures of the server.
        encodings: regions of dropped pictures, that others may be like.
        text_turn: held while words are encoded.
    """

    def __init__(self, index: RegionIndex, pictures: Pictures, encodings: Encodings, text_turn: threading.Lock) -> None:
        self.index, self.pictures, self.encodings, self.text_turn = index, pictures, encodings, text_turn
        named = [picture for picture in pictures.named if isinstance(picture, IndexedPicture)]
        self._by_path = {picture.path: picture for picture in named}

    def serve(self, app: FastAPI) -> None:
        """Give the question its address."""
        app.post("/api/search")(self.search)

    async def search(self, request: Request) -> dict[str, Any]:
        """Some of the regions that fit words, a region, or both; the best one of each picture."""
        asked = await question(request, SearchQuestion)
        words, minus = check_words(asked.words), check_words(asked.minus)
        if not words and asked.like is None:
            raise HTTPException(422, "There is nothing to look for: type words, or choose a region.")
        tokens, but = ([], []) if asked.like is None else self._like(asked.like)
        return await run_in_threadpool(self._answer, asked, [*words, *tokens], minus, but)

    def _answer(
        self, asked: SearchQuestion, what: Sequence[str | Tensor], minus: Sequence[str], but: Sequence[Hit]
    ) -> dict[str, Any]:
        end = min(asked.start + asked.count, MOST_HITS)
        with self.text_turn:
            hits = self.index.search(what, k=end + 1, minus=minus, but=but)
        return {
            "hits": [self._as_json(hit) for hit in hits[asked.start : end]],
            "more": len(hits) > end and end < MOST_HITS,
            "found": hits.found,
            "line": FOUND,
        }

    def _as_json(self, hit: Hit) -> dict[str, Any]:
        picture = self._by_path[hit.picture]
        return {
            "picture": picture.id,
            "name": picture.name,
            "region": hit.region,
            "score": round(hit.score, 4),
            "relevance": hit.relevance,
            "size_hw": hit.size_hw,
            "outline": outline(hit.low_mask(), hit.size_hw),
        }

    def _like(self, like: Like) -> tuple[list[Tensor], list[Hit]]:
        """The token of a region, and what is no answer to it."""
        picture = self.pictures.get(like.picture)
        if isinstance(picture, IndexedPicture):
            hits = picture.hits()
            if like.region < len(hits):
                return [hits[like.region].token], [hits[like.region]]
        encoded = self.encodings.get(like.picture)
        if picture is None or encoded is None or like.region >= len(encoded.regions):
            raise HTTPException(404, "The region that is asked for is not here (any more): choose it again.")
        return [encoded.regions.tokens[like.region].float().cpu()], []


def outline(mask: npt.NDArray[np.bool_], size_hw: tuple[int, int]) -> str:
    """The border of a low-resolution mask as a path of SVG, in pixels of the picture.

    Args:
        mask: (h, w).
        size_hw: of the picture.
    """
    enlarged = cv2.resize(
        mask.astype(np.uint8) * 255, None, fx=_SMOOTHING, fy=_SMOOTHING, interpolation=cv2.INTER_LINEAR
    )
    borders, _ = cv2.findContours((enlarged >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([size_hw[1] / enlarged.shape[1], size_hw[0] / enlarged.shape[0]])
    paths = []
    for border in borders:
        points = ((cv2.approxPolyDP(border, 1.0, True)[:, 0] + 0.5) * scale).round(1)
        paths.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z")
    return "".join(paths)
