"""What is known of published weights: their names in files, their activation, their size."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch

from .models import build_model
from .names import ALIASES, supported_architectures

QUICK = "-quickgelu"
_FOLDERS_ABOVE = 3
"""A repository's name stands so far above a file in the hub's cache."""
_TOKENIZER_SIZES = {"siglip2": 34_400_000, "siglip-i18n": 16_300_000, "siglip": 2_400_000}


@lru_cache(maxsize=1)
def openai_files() -> dict[str, str]:
    """Names of OpenAI's own files (``ViT-B-16.pt``) and the architecture of each."""
    urls = ((name, open_clip.get_pretrained_url(name, "openai")) for name in supported_architectures())
    return {url.rpartition("/")[2]: name for name, url in urls if url and not name.endswith(QUICK)}


def openai_digest(architecture: str) -> str:
    """The published SHA-256 of OpenAI's own file."""
    return open_clip.get_pretrained_url(architecture, "openai").split("/")[-2]


def architecture_of(path: Path) -> str | None:
    """The architecture that the name of a published file tells: OpenAI's, or Meta's of a Perception Encoder."""
    return openai_files().get(path.name) or ALIASES.get(path.name.partition(".")[0])


def tag_of(path: Path, architecture: str) -> str | None:
    """open_clip's tag of the weights where the file's name, or those of the folders above, tell it."""
    tags = open_clip.list_pretrained_tags_by_model(architecture.removesuffix(QUICK))
    if path.name in openai_files() and "openai" in tags:
        return "openai"
    absolute = Path(os.path.abspath(path))
    for part in (path.stem, *(folder.name for folder in list(absolute.parents)[:_FOLDERS_ABOVE])):
        words = f"_{_plain(part)}_"
        found = [tag for tag in tags if f"_{_plain(tag)}_" in words]
        if found:
            return max(found, key=len)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def is_quick(architecture: str, tag: str) -> bool:
    """Whether weights were trained with QuickGELU."""
    config = open_clip.get_pretrained_cfg(architecture.removesuffix(QUICK), tag)
    return bool(config.get("quick_gelu", False))


def model_size(config: Mapping[str, Any]) -> int | None:
    """About how many bytes a file of a model's weights has; None: its text tower is not open_clip's own."""
    if "hf_model_name" in config["text_cfg"]:
        return None
    with torch.device("meta"):
        model = build_model(config)
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def tokenizer_size(repository: str) -> int | None:
    """About how many bytes a tokenizer's file has."""
    return next((size for name, size in _TOKENIZER_SIZES.items() if name in repository.lower()), None)
