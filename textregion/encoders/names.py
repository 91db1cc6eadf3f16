"""From the names that users write to open_clip's own: architectures and tags of weights."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import open_clip

from ..errors import UserError

_PE_SIZES = {"T16-384": "T-16-384", "S16-384": "S-16-384", "B16-224": "B-16", "L14-336": "L-14-336"}
ALIASES = {f"PE-Core-{ours}": f"PE-Core-{theirs}" for ours, theirs in _PE_SIZES.items()} | {
    "PE-Core-G14-448": "PE-Core-bigG-14-448"
}
TAG_ALIASES = {"siglip2": "webli", "siglip": "webli"}
DEFAULT_ARCHITECTURE = {
    "openai": "ViT-L/14@336px",
    "laion2b_s32b_b79k": "ViT-H/14",
    "siglip2": "ViT-L-16-SigLIP2-256",
    "meta": "PE-Core-L14-336",
}


def resolve_architecture(name: str) -> str:
    """open_clip's name of an architecture, from the name a user writes.

    Raises:
        UserError: unknown, or with a tower that the method does not support.
    """
    plain = ALIASES.get(name, re.sub(r"@(\d+)px$", r"-\1", name).replace("/", "-"))
    if plain in supported_architectures():
        return plain
    supported = ", ".join(supported_architectures())
    if plain in open_clip.list_models():
        raise UserError(f"Architecture {name!r} has an image tower that is not supported. Supported: {supported}.")
    near = difflib.get_close_matches(plain, supported_architectures(), n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UserError(f"Unknown architecture {name!r}.{hint} Supported: {supported}.")


@lru_cache(maxsize=1)
def supported_architectures() -> tuple[str, ...]:
    """open_clip's names of all CLIP ViT, SigLIP, SigLIP2 and PE-Core architectures."""
    return tuple(name for name in open_clip.list_models() if is_supported(open_clip.get_model_config(name)))


def is_supported(config: Mapping[str, Any]) -> bool:
    """Whether a ``model_cfg`` of open_clip describes an image tower that the method can use."""
    vision = config["vision_cfg"]
    if vision.get("timm_model_name"):
        return vision.get("timm_pool") == "map" and vision["timm_model_name"].startswith("vit_")
    is_vit = isinstance(vision.get("layers"), int)
    return is_vit and not vision.get("attentional_pool") and "multimodal_cfg" not in config


def resolve_pretrained(architecture: str, pretrained: str | None) -> str:
    """An open_clip tag of the architecture, or the path of a checkpoint.

    Args:
        architecture: open_clip's own name, see :func:`resolve_architecture`.

    Raises:
        UserError: neither a tag nor a file, or no weights named where there is no usual tag.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        for tag in ("openai", "webli", "meta"):
            if tag in tags:
                return tag
        raise UserError(f"Say which weights of {architecture!r} to use: {', '.join(tags) or 'a checkpoint file'}.")
    tag = TAG_ALIASES.get(pretrained, pretrained)
    if tag in tags:
        return tag
    if os.path.isfile(pretrained):
        return pretrained
    known = ", ".join(sorted({*tags, *(a for a, t in TAG_ALIASES.items() if t in tags and a in architecture.lower())}))
    raise UserError(
        f"Weights {pretrained!r} are neither a file nor a tag of {architecture!r}: use {known or 'a checkpoint file'}."
    )
