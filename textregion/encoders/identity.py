"""What an encoder is called in caches, region files and records: the same weights, the same name."""

from __future__ import annotations

import hashlib
import json

from torch import nn

from ..checkpoints.digests import weights_digest
from .base import Preprocess
from .text_tower import Tokenizer

_PROBES = ["", "a photo of a dog.", "Ätna-Straße 12, 東京!", "word " * 300]
"""Texts by whose token ids tokenizers are told apart: cleaning, unknown letters, padding, length."""


def encoder_name(label: str, model: nn.Module, tokenizer: Tokenizer, preprocess: Preprocess) -> str:
    """``label:digest``; the digest is of all that the features depend on.

    These are the values of all weights, the activations and heads, which weights do not show, what the tokenizer makes
    of a few texts, and how pictures are normalised.
    """
    modules = list(model.modules())
    facts = [
        weights_digest(model),
        sorted({repr(module) for module in modules if not [*module.children(), *module.parameters()]}),
        [module.num_heads for module in modules if isinstance(getattr(module, "num_heads", None), int)],
        tokenizer(_PROBES).tolist(),
        [preprocess.mean, preprocess.std, preprocess.interpolation],
    ]
    return f"{label}:{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"
