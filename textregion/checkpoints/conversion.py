"""Image-text weights in others' naming -> open_clip's, for one of its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.model import convert_to_custom_text_state_dict
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from .naming import Naming

Tensors = dict[str, Tensor]

_BLOCK = ((".self_attn.", ".attn."), (".layer_norm1.", ".ln_1."), (".layer_norm2.", ".ln_2."))
_MLP = ((".mlp.fc1.", ".mlp.c_fc."), (".mlp.fc2.", ".mlp.c_proj."))
_TEXT = (
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.head.", "text_projection."),
    *_BLOCK,
    *_MLP,
)
_CLIP_TOWER = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    *_BLOCK,
    *_MLP,
)
_SIGLIP_TOWER = (
    ("vision_model.embeddings.patch_embedding.", "visual.trunk.patch_embed.proj."),
    ("vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed"),
    ("vision_model.encoder.layers.", "visual.trunk.blocks."),
    ("vision_model.post_layernorm.", "visual.trunk.norm."),
    ("vision_model.head.probe", "visual.trunk.attn_pool.latent"),
    ("vision_model.head.attention.out_proj.", "visual.trunk.attn_pool.proj."),
    ("vision_model.head.attention.", "visual.trunk.attn_pool."),
    ("vision_model.head.layernorm.", "visual.trunk.attn_pool.norm."),
    ("vision_model.head.", "visual.trunk.attn_pool."),
    (".self_attn.out_proj.", ".attn.proj."),
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
)


def to_open_clip(tensors: Mapping[str, Tensor], naming: Naming | None, model: nn.Module) -> Tensors:
    """The same weights under open_clip's names.

    Args:
        tensors: a whole model in ``naming``.
        model: the open_clip model that they are for.
    """
    convert = _FROM.get(naming) if naming else None
    return dict(tensors) if convert is None else convert(tensors, model)


def _from_perception_encoder(tensors: Mapping[str, Tensor], model: Any) -> Tensors:
    tower = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    text = {name: tensor for name, tensor in tensors.items() if name not in tower}
    converted = checkpoint_filter_fn(tower, model.visual.trunk)
    return {f"visual.trunk.{name}": tensor for name, tensor in converted.items()} | dict(
        convert_to_custom_text_state_dict(text)
    )


def _from_transformers_clip(tensors: Mapping[str, Tensor], model: nn.Module) -> Tensors:
    state = _joined(_renamed(_renamed(tensors, _CLIP_TOWER), _TEXT), "in_proj_")
    state["visual.proj"] = state.pop("visual_projection.weight").T
    state["text_projection"] = state.pop("text_projection.weight").T
    return state


def _from_transformers_siglip(tensors: Mapping[str, Tensor], model: Any) -> Tensors:
    towers = {name: tensor for name, tensor in tensors.items() if name.startswith("vision_model.")}
    others = {name: tensor for name, tensor in tensors.items() if name not in towers}
    text = {
        name if name.startswith("logit_") else f"text.{name}": tensor
        for name, tensor in _joined(_renamed(others, _TEXT), "in_proj_").items()
    }
    tower = _joined(_renamed(towers, _SIGLIP_TOWER), "qkv.")
    pool = "visual.trunk.attn_pool."
    for kind in ("weight", "bias"):
        query, *key_value = tower.pop(f"{pool}in_proj_{kind}").chunk(3)
        tower[f"{pool}q.{kind}"], tower[f"{pool}kv.{kind}"] = query, torch.cat(key_value)
    trunk = model.visual.trunk
    patches, positions = "visual.trunk.patch_embed.proj.weight", "visual.trunk.pos_embed"
    if tower[patches].ndim == 2:  # Siglip2Model takes flat patches: rows, columns, channels
        side = trunk.patch_embed.patch_size[0]
        tower[patches] = tower[patches].unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
        tower[positions] = _resampled(tower[positions], trunk.patch_embed.grid_size)
    tower[positions] = tower[positions][None]
    return {**tower, **text}


def _resampled(positions: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Position embeddings (N, C) of a square grid at another size, as Siglip2Model does it for every picture."""
    side = round(len(positions) ** 0.5)
    if (side, side) == tuple(size_hw):
        return positions
    grid = positions.float().unflatten(0, (side, side)).permute(2, 0, 1)[None]
    resized = F.interpolate(grid, size_hw, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].flatten(1).T.to(positions.dtype)


def _renamed(tensors: Mapping[str, Tensor], pairs: Sequence[tuple[str, str]]) -> Tensors:
    """Every pair replaced in turn in the names of the tower that the first pair is about."""
    tower = pairs[0][0].partition(".")[0] + "."
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        new = name
        if name.startswith(tower):
            for old, replacement in pairs:
                new = new.replace(old, replacement)
        renamed[new] = tensor
    return renamed


def _joined(tensors: Mapping[str, Tensor], name: str) -> Tensors:
    """Query, key and value of every attention in one tensor, called ``name`` and its kind."""
    joined = {key: tensor for key, tensor in tensors.items() if not key.endswith(_THREE)}
    for key in tensors:
        if ".q_proj." in key:
            parts = [tensors[key.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            joined[key.replace(".q_proj.", f".{name}")] = torch.cat(parts)
    return joined


_THREE = tuple(f".{letter}_proj.{kind}" for letter in "qkv" for kind in ("weight", "bias"))
_FROM: dict[Naming, Callable[[Mapping[str, Tensor], nn.Module], Tensors]] = {
    "Meta's Perception Encoder": _from_perception_encoder,
    "transformers CLIP": _from_transformers_clip,
    "transformers SigLIP": _from_transformers_siglip,
}
