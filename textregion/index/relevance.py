"""Whether anything like a word is there at all: its scores against those of all regions, and of words that say nothing.

The highest cosine of a word tells little, as words lie at different distances from all pictures. Two figures tell
more: how far a score stands out among the word's own scores of all regions, beyond what words that say nothing reach by
chance among as many; and how far it lies above the scores of those words at the same region, in units of their spread.
A logistic curve through both was fitted on rendered scenes, see ``benchmarks/README.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .question import NEUTRAL_WORDS, EncodeWords
from .table import Floats, Table

OUTSTANDING, ABOVE, CONSTANT = 2.0, 2.6, -6.5
"""Of the logistic curve: weights of the two figures, and what is added to them."""
FOUND = 0.5
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Relevance:
    """How the scores of the neutral words lie in an index."""

    neutral: Tensor
    """(J, D) embeddings."""
    usual_best: float
    """Standard deviations that the best region for a neutral word is above the mean of all."""
    spread: float
    """Standard deviation of the neutral words' scores around their mean at a region."""

    @classmethod
    def of(cls, table: Table, encode: EncodeWords) -> Relevance:
        """That of an index with at least one region."""
        neutral = encode(NEUTRAL_WORDS).detach().float().cpu()
        scores = np.stack([table.scan(word)[table.alive_regions] for word in neutral])
        best = [float((one.max() - one.mean()) / max(one.std(), _LEAST)) for one in scores]
        scores -= scores.mean(0)
        return cls(neutral, float(np.mean(best)), max(float(scores.std()), _LEAST))

    def rate(self, word: Tensor, scores: Floats, tokens: Tensor) -> list[float]:
        """How likely regions show what a word means, from 0 to 1.

        Args:
            word: (D,) its embedding.
            scores: of all living regions for the word.
            tokens: (n, D) of the regions that are asked about.
        """
        mean, deviation = float(scores.mean()), max(float(scores.std()), _LEAST)
        exact = tokens @ word
        outstanding = (exact - mean) / deviation - self.usual_best
        above = (exact - (tokens @ self.neutral.T).mean(1)) / self.spread
        figures = OUTSTANDING * outstanding + ABOVE * above + CONSTANT
        return [round(value, 6) for value in torch.sigmoid(figures).tolist()]


def together(rated: Sequence[Sequence[float]]) -> list[float]:
    """Of several words, each region's least."""
    return [min(values) for values in zip(*rated)]
