"""Stage 5: words through the prompt ensemble, once each (method.md section 9)."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .encoders.base import Encoder
from .files import cannot_write, replacing
from .runtime import Precision
from .templates import IMAGENET, Templates
from .words import as_words

logger = logging.getLogger(__name__)

TEXTS_PER_BATCH = 320
"""Four words of 80 templates each, or more of fewer: large enough to keep a CPU or GPU busy, small in memory."""


class TextBank:
    """Word embeddings of one encoder: each word is put into all templates once and remembered.

    Args:
        encoder: whose text tower is asked.
        cache_dir: folder to keep embeddings in between runs, keyed by encoder name, templates and word; None: memory
            only.
        precision: autocast of the text tower.
        templates: what a word is put into; the 80 of ImageNet by default.
    """

    def __init__(
        self,
        encoder: Encoder,
        cache_dir: str | os.PathLike[str] | None = None,
        precision: Precision | None = None,
        templates: Templates = IMAGENET,
    ) -> None:
        self.templates = templates
        self._encoder = encoder
        self._precision = precision or Precision()
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._known: dict[str, Tensor] = {}

    @property
    def encoder_name(self) -> str:
        """Whose embeddings they are."""
        return self._encoder.name

    def encode(self, words: Sequence[str]) -> Tensor:
        """K words -> (K, D) L2-normalised embeddings on the encoder's device.

        Raises:
            UserError: see :func:`textregion.words.as_words`.
        """
        words = as_words(words)
        missing = [word for word in dict.fromkeys(words) if word not in self._known]
        missing = [word for word in missing if not self._load(word)]
        words_at_a_time = max(1, TEXTS_PER_BATCH // len(self.templates))
        for start in range(0, len(missing), words_at_a_time):
            batch = missing[start : start + words_at_a_time]
            for word, embedding in zip(batch, self._ensemble(batch)):
                self._known[word] = embedding
                self._store(word, embedding)
        return torch.stack([self._known[word] for word in words])

    @torch.no_grad()
    def _ensemble(self, words: Sequence[str]) -> Tensor:
        """(K, D): mean over templates of normalised features, normalised."""
        texts = [text for word in words for text in self.templates.fill(word)]
        tokens = self._encoder.tokenize(texts)
        self._warn_truncated(words, tokens)
        with self._precision.autocast(self._encoder.device):
            features = self._encoder.encode_text(tokens)
        per_word = features.float().unflatten(0, (len(words), -1)).mean(1)
        return F.normalize(per_word, dim=-1)

    def _warn_truncated(self, words: Sequence[str], tokens: Tensor) -> None:
        padding = self._encoder.tokenize([""])[0, -1]
        full = (tokens[:, -1] != padding).unflatten(0, (len(words), -1)).any(1)
        for word, is_full in zip(words, full.tolist()):
            if is_full:
                logger.warning("The text %r is longer than the model's context and is cut off.", _shorten(word))

    def _path(self, word: str) -> Path | None:
        if self._cache_dir is None:
            return None
        key = "\0".join([self._encoder.name, self._precision.dtype, repr(self.templates.texts), word])
        return self._cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def _load(self, word: str) -> bool:
        path = self._path(word)
        if path is None or not path.is_file():
            return False
        try:
            embedding = load_file(path)["embedding"]
        except (SafetensorError, KeyError, OSError):
            embedding = torch.empty(0)
        if not _is_unit(embedding, self._encoder.embed_dim):
            logger.warning("The cached embedding %s is damaged and is made again.", path)
            return False
        self._known[word] = embedding.to(self._encoder.device)
        return True

    def _store(self, word: str, embedding: Tensor) -> None:
        path = self._path(word)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(save({"embedding": embedding.cpu().contiguous()}))
        except OSError as error:
            logger.warning("Words are not kept, the run goes on without: %s", cannot_write(path, error))
            self._cache_dir = None


def _is_unit(embedding: Tensor, size: int) -> bool:
    """Whether a tensor is what the ensemble makes: (size,) float32 of length 1, so without NaN."""
    plain = embedding.dtype == torch.float32 and embedding.shape == (size,)
    return plain and abs(float(embedding.norm()) - 1) < 1e-3


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
