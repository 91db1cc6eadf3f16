"""Whose naming the tensors of a checkpoint follow, and what the file is where no model here can take it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from torch import Tensor

Naming = Literal[
    "open_clip", "Meta's Perception Encoder", "transformers CLIP", "transformers SigLIP", "transformers SAM 2", "SAM 2"
]

_MARKS: tuple[tuple[Naming, tuple[str, ...]], ...] = (
    ("Meta's Perception Encoder", ("visual.attn_pool.probe", "token_embedding.weight")),
    ("open_clip", ("visual.conv1.weight", "token_embedding.weight")),
    ("open_clip", ("visual.conv1.weight", "text.token_embedding.weight")),
    ("open_clip", ("visual.conv1.weight", "text.transformer.embeddings.word_embeddings.weight")),
    ("open_clip", ("visual.trunk.pos_embed",)),
    ("transformers SigLIP", ("vision_model.head.probe", "text_model.head.weight")),
    ("transformers CLIP", ("vision_model.embeddings.class_embedding", "text_projection.weight")),
    ("transformers SAM 2", ("vision_encoder.backbone.patch_embed.projection.weight",)),
    ("SAM 2", ("image_encoder.trunk.patch_embed.proj.weight",)),
)
"""Names that all occur, the narrower first."""
_OTHERS: tuple[tuple[str, str, str], ...] = (
    # a mark in the names, what such a file is, what is taken instead
    ("lora_", "an adapter (LoRA), which holds changes of a model alone", "merge it into its model and save that"),
    ("visual.layer1.", "a CLIP with a ResNet as its image tower", "take one with a ViT, such as ViT-B/16"),
    (
        "vision_model.",
        "an image tower alone, in transformers' naming",
        "give the whole model, CLIPModel or SiglipModel",
    ),
    ("text_model.", "a text tower alone, in transformers' naming", "give the whole model, CLIPModel or SiglipModel"),
    ("visual.", "an image tower alone", "give the whole model, with its text tower"),
    ("image_encoder.blocks.", "a SAM of the first generation", "give a SAM 2 or 2.1"),
    ("image_encoder.neck.", "a SAM of another kind", "give a SAM 2 or 2.1 of Meta's package"),
    ("conv1.weight", "an image tower alone", "give the whole model, with its text tower"),
    ("patch_embed.", "an image tower alone, in timm's naming", "give open_clip's file of the whole model"),
    ("embeddings.", "an image tower alone, in transformers' naming", "give the whole model with its text tower"),
)


def naming_of(tensors: Collection[str]) -> Naming | None:
    """Whose names these are; None: nobody's whose models are used here."""
    return next((naming for naming, marks in _MARKS if all(mark in tensors for mark in marks)), None)


def is_image_text(naming: Naming | None) -> bool:
    """Whether it is the naming of an image-text model."""
    return naming is not None and "SAM 2" not in naming


def what_is_wrong(tensors: Mapping[str, Tensor], wanted: Literal["image-text", "SAM 2"]) -> str | None:
    """What a checkpoint is that is no such model, and what to give instead; None where it is one, or nothing known."""
    naming = naming_of(tensors)
    if naming is not None:
        if is_image_text(naming) == (wanted == "image-text"):
            return None
        option = "--sam2_checkpoint" if wanted == "image-text" else "--clip_pretrained"
        return (
            f"is an image-text model in the naming of {naming}: give it as {option}"
            if wanted == "SAM 2"
            else (f"is a {naming.removeprefix('transformers ')} model: give it as {option}")
        )
    for mark, what, instead in _OTHERS:
        if any(name.startswith(mark) or (mark == "lora_" and mark in name) for name in tensors):
            return f"is {what}: {instead}"
    return None
