"""What is asked, as one vector: words, regions, both together, and words that are not wanted.

Text and pictures lie in different places of the joint space (the modality gap), so what comes from several sides is
added up after each side's mean was taken off; else the nearer side would decide alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..words import is_word

NEUTRAL_WORDS = ("thing", "object", "stuff", "something", "background", "picture", "texture", "area")
"""Words that say nothing of what is seen: their mean is where text lies."""
MINUS_WEIGHT = 0.5
"""Of a word that is not wanted, against one that is."""

EncodeWords = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Question:
    """Words and regions that are looked for, and words that are not wanted."""

    words: tuple[str, ...] = ()
    tokens: tuple[Tensor, ...] = ()
    """(D,) each, of regions."""
    minus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for word in (*self.words, *self.minus):
            if not is_word(word):
                raise UserError(f"What to look for must be text that is not blank, but got {word!r}.")
        if not self.words and not self.tokens:
            raise UserError("There is nothing to look for: give words, or a region.")

    @classmethod
    def of(cls, asked: object, minus: str | Sequence[str] = ()) -> Question:
        """From words, tokens or lists of both.

        Args:
            asked: a text, a token (D,), or a list of texts and tokens.
            minus: a text, or several.

        Raises:
            UserError: something else, or nothing.
        """
        items = list(asked) if isinstance(asked, (list, tuple)) else [asked]
        tokens = tuple(item for item in items if isinstance(item, Tensor))
        words = tuple(item for item in items if isinstance(item, str))
        if len(words) + len(tokens) != len(items):
            odd = next(item for item in items if not isinstance(item, (str, Tensor)))
            raise UserError(f"A question is made of texts and tokens, but got {type(odd).__name__}.")
        return cls(words, tokens, (minus,) if isinstance(minus, str) else tuple(minus))

    @property
    def is_one_word(self) -> bool:
        """Whether it is a single text and nothing else."""
        return len(self.words) == 1 and not self.tokens and not self.minus

    def vector(self, encode: EncodeWords, size: int, picture_mean: Tensor) -> Tensor:
        """(D,) float32 of length 1, whose products with tokens rank them.

        Args:
            encode: K words -> (K, D) embeddings.
            size: D.
            picture_mean: (D,) mean of the index's tokens.

        Raises:
            UserError: a token of another size.
        """
        tokens = [self._token(token, size) for token in self.tokens]
        if len(self.words) + len(tokens) == 1 and not self.minus:
            return tokens[0] if tokens else _plain(encode(self.words))[0]
        sides = [_centred(token, picture_mean) for token in tokens]
        if self.words or self.minus:
            text = _plain(encode([*self.words, *self.minus, *NEUTRAL_WORDS]))
            text_mean = text[-len(NEUTRAL_WORDS) :].mean(0)
            directions = [_centred(embedding, text_mean) for embedding in text[: -len(NEUTRAL_WORDS)]]
            sides += directions[: len(self.words)]
            sides += [-MINUS_WEIGHT * direction for direction in directions[len(self.words) :]]
        return F.normalize(torch.stack(sides).sum(0), dim=0)

    @staticmethod
    def _token(token: Tensor, size: int) -> Tensor:
        if token.shape != (size,):
            raise UserError(f"A token of this index is ({size},), but got {tuple(token.shape)}.")
        return F.normalize(token.detach().float().cpu(), dim=0)


def _plain(embeddings: Tensor) -> Tensor:
    return embeddings.detach().float().cpu()


def _centred(vector: Tensor, mean: Tensor) -> Tensor:
    return F.normalize(vector - mean, dim=0)
