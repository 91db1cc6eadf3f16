"""A model's tokenizer: open_clip's own, or a folder's, for which its ``tokenizer.json`` alone is enough."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, get_clean_fn
from tokenizers import Tokenizer as Vocabulary
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from ..errors import UserError, reason_of
from .text_tower import Tokenizer

CLIP_VOCABULARY = 49408
"""Tokens of the vocabulary that open_clip brings along."""
_PADDING = ("<pad>", "[PAD]", "<|endoftext|>", "</s>")


def wants_own_tokenizer(text_config: Mapping[str, Any]) -> bool:
    """Whether a ``text_cfg`` needs another vocabulary than the one that open_clip brings along."""
    return (
        bool(text_config.get("hf_tokenizer_name")) or text_config.get("vocab_size", CLIP_VOCABULARY) != CLIP_VOCABULARY
    )


def load_tokenizer(text_config: Mapping[str, Any], folder: Path | None) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        text_config: ``text_cfg`` of open_clip.
        folder: with the tokenizer's files; None: open_clip's own.

    Raises:
        UserError: files that hold none.
    """
    length = text_config.get("context_length") or DEFAULT_CONTEXT_LENGTH
    settings = dict(text_config.get("tokenizer_kwargs") or {})
    mode = text_config.get("tokenizer_mode")
    if folder is None:
        return open_clip.SimpleTokenizer(context_length=length, **settings)
    try:
        if (folder / "tokenizer.json").is_file() and not mode and not settings.keys() - {"clean"}:
            return FileTokenizer(folder, length, settings.get("clean", "whitespace"), _family(text_config))
        tokenizer: Tokenizer = HFTokenizer(
            os.fspath(folder), context_length=length, tokenizer_mode=mode, local_files_only=True, **settings
        )
    except Exception as error:  # made-up files raise errors of any kind
        raise UserError(
            f"The tokenizer in {os.fspath(folder)!r} cannot be read ({reason_of(error)}): give another by --tokenizer."
        ) from None
    return tokenizer


class FileTokenizer:
    """A tokenizer from its ``tokenizer.json``, with what ``tokenizer_config.json`` says where that is there.

    Args:
        folder: where they are.
        context_length: tokens of every text.
        clean: open_clip's name of what is done to a text before.
        padding: the token that fills a text up where no file says.
    """

    def __init__(self, folder: Path, context_length: int, clean: str, padding: str | None) -> None:
        self._vocabulary = Vocabulary.from_file(os.fspath(folder / "tokenizer.json"))
        self._clean = get_clean_fn(clean)
        stated: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                stated |= json.loads((folder / name).read_text(encoding="utf-8"))
        self._add_ends(stated)
        token = _token(stated.get("pad_token")) or padding
        token = token or next((known for known in _PADDING if self._vocabulary.token_to_id(known) is not None), None)
        pad_id = None if token is None else self._vocabulary.token_to_id(token)
        if token is None or pad_id is None:
            raise ValueError(f"it has no token {token!r} to fill texts up with")
        self._vocabulary.enable_truncation(context_length)
        direction = stated.get("padding_side", "right")
        self._vocabulary.enable_padding(direction=direction, pad_id=pad_id, pad_token=token, length=context_length)

    def __call__(self, texts: list[str]) -> Tensor:
        """n texts -> (n, L) token ids."""
        encoded = self._vocabulary.encode_batch([self._clean(text) for text in texts])
        return torch.tensor([text.ids for text in encoded])

    def _add_ends(self, stated: Mapping[str, Any]) -> None:
        """Begin and end tokens as a tokenizer of Gemma's kind has them stated beside, not in, its vocabulary."""
        if not {"add_bos_token", "add_eos_token"} <= stated.keys():
            return
        ends = [
            _token(stated.get(name)) if stated.get(f"add_{name}", False) else None
            for name in ("bos_token", "eos_token")
        ]
        template = " ".join(filter(None, (ends[0], "$A", ends[1])))
        ids = [(token, self._vocabulary.token_to_id(token)) for token in ends if token]
        self._vocabulary.post_processor = TemplateProcessing(single=template, special_tokens=ids)


def _token(stated: Any) -> str | None:
    """A special token's text, which files write in two ways."""
    return stated.get("content") if isinstance(stated, dict) else stated


def _family(text_config: Mapping[str, Any]) -> str | None:
    """What fills texts up in a family of models."""
    name = str(text_config.get("hf_tokenizer_name", "")).lower()
    return "<pad>" if "siglip2" in name else "</s>" if "siglip" in name else None
