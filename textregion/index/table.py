"""All regions of an index side by side, as a question sees them: scanned in int8, the best looked at in float16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .store import Catalogue, Entry

Floats = npt.NDArray[np.float32]
SAMPLED = 20_000
"""Regions that tell the mean and deviation of all to about a hundredth."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """P pictures and N regions of all parts, also those that are gone: ``alive`` says which count."""

    catalogue: Catalogue

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """(P + 1,) first region of every picture, and the number of all."""
        counts = [np.diff(one.part.starts) for one in self.catalogue.loaded]
        return np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *counts]))]).astype(np.int64)

    @cached_property
    def entries(self) -> list[Entry]:
        """(P,) where each picture is."""
        loaded = self.catalogue.loaded
        return [Entry(one.part, picture) for one in loaded for picture in range(len(one.part.pictures))]

    @cached_property
    def alive(self) -> Bools:
        """(P,) pictures that can be answers, each content once."""
        return self._each_once(self.catalogue.alive & (np.diff(self.starts) > 0))

    def select(self, holds: Callable[[str], bool]) -> Bools:
        """(P,) living pictures of whose path something holds, each content once."""
        selected = self.catalogue.alive & (np.diff(self.starts) > 0)
        for picture in np.flatnonzero(selected).tolist():
            selected[picture] = holds(self.entries[picture].facts.path)
        return self._each_once(selected)

    def _each_once(self, pictures: Bools) -> Bools:
        """Of files with the same bytes the first by its path."""
        first: dict[str, int] = {}
        for picture in np.flatnonzero(pictures).tolist():
            facts = self.entries[picture].facts
            other = first.get(facts.sha256)
            if other is None or facts.path < self.entries[other].facts.path:
                first[facts.sha256] = picture
        once = np.zeros(len(pictures), bool)
        once[list(first.values())] = True
        return once

    def in_regions(self, pictures: Bools) -> Bools:
        """(P,) -> (N,): what holds of a picture, for each of its regions."""
        return np.repeat(pictures, np.diff(self.starts))

    @cached_property
    def alive_regions(self) -> Bools:
        """(N,) those of pictures that are alive."""
        return self.in_regions(self.alive)

    @cached_property
    def mean(self) -> Tensor:
        """(D,) mean of all tokens: where the picture side of the embedding space lies."""
        means = [(one.vectors.mean, one.part.regions) for one in self.catalogue.loaded if one.part.regions]
        total = sum(count for _, count in means)
        return sum((mean * (count / total) for mean, count in means), start=torch.zeros(()))

    def scan(self, question: Tensor) -> Floats:
        """(N,) products with a question (D,), from the int8 copies."""
        scores = [one.vectors.scores(question) for one in self.catalogue.loaded]
        return torch.cat(scores).numpy() if scores else np.zeros(0, np.float32)

    def exact(self, question: Tensor) -> Floats:
        """(N,) the same from the float16 tokens, block by block; to measure others by."""
        blocks = [block for one in self.catalogue.loaded for block in one.part.tokens.split(4096)]
        scores = [block.float() @ question for block in blocks]
        return torch.cat(scores).numpy() if scores else np.zeros(0, np.float32)

    def living_tokens(self, rows: int) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
        """Tokens of regions that are alive, at most so many at a time, with their places among the N."""
        start = 0
        for one in self.catalogue.loaded:
            for block in one.part.tokens.split(rows):
                living = np.flatnonzero(self.alive_regions[start : start + len(block)])
                yield living + start, block[torch.from_numpy(living)]
                start += len(block)

    @cached_property
    def sample(self) -> Tensor:
        """(n, D) float32 tokens of living regions, spread evenly, to tell the distribution of products by."""
        living = np.flatnonzero(self.alive_regions)
        places = living[:: max(1, len(living) // SAMPLED)]
        tokens, start = [], 0
        for one in self.catalogue.loaded:
            own = places[(places >= start) & (places < start + one.part.regions)] - start
            tokens.append(one.part.tokens[torch.from_numpy(own)].float())
            start += one.part.regions
        return torch.cat(tokens)

    def at(self, question: Tensor, places: npt.NDArray[np.int64]) -> Floats:
        """(N,) exact products at some regions, and -inf elsewhere."""
        scores = np.full(int(self.starts[-1]), -np.inf, np.float32)
        pictures = self.picture_of(places)
        for picture in np.unique(pictures).tolist():
            own = places[pictures == picture]
            scores[own] = self.rescored(question, picture)[own - self.starts[picture]]
        return scores

    def rescored(self, question: Tensor, picture: int) -> Floats:
        """(R,) products with the float16 tokens of a picture's regions."""
        part, place = self.entries[picture]
        scores: Floats = (part.tokens[part.span(place)].float() @ question).numpy()
        return scores

    def token(self, region: int) -> Tensor:
        """(D,) float32 of one of the N regions."""
        picture = int(self.picture_of(np.array([region]))[0])
        part, place = self.entries[picture]
        return part.tokens[part.span(place)][region - int(self.starts[picture])].float()

    def picture_of(self, regions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which picture each region is of."""
        return np.searchsorted(self.starts, regions, side="right") - 1

    def best_pictures(self, scores: Floats, eligible: Bools, count: int) -> npt.NDArray[np.int64]:
        """At most ``count`` pictures in no order, those with the highest scores of a region.

        Args:
            scores: (N,).
            eligible: (P,) which may be taken.
            count: how many.
        """
        filled = np.flatnonzero(np.diff(self.starts) > 0)
        best = np.full(len(eligible), -np.inf, np.float32)
        if len(filled):
            best[filled] = np.maximum.reduceat(scores, self.starts[:-1][filled])
        return highest(np.where(eligible, best, -np.inf), count)


def highest(scores: Floats, count: int) -> npt.NDArray[np.int64]:
    """Places of the ``count`` highest finite scores, in no order."""
    count = min(count, len(scores))
    places = np.argpartition(scores, len(scores) - count)[len(scores) - count :] if count else np.zeros(0, np.int64)
    return places[np.isfinite(scores[places])]


def ordered(scores: Sequence[float], names: Sequence[str]) -> list[int]:
    """Places by falling score, equal ones by name."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], names[place]))
