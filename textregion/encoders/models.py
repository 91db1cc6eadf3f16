"""An open_clip model of a config, and a checkpoint's tensors in it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import open_clip
import torch
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from torch import Tensor, nn


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """The model that a ``model_cfg`` of open_clip describes, with random weights and nothing downloaded."""
    settings = deepcopy(dict(config))
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    custom = settings.pop("custom_text", False) or "hf_model_name" in text
    model: nn.Module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**settings)
    return model


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put a state dict in open_clip's naming into a model, as open_clip's own loader does.

    Position embeddings of another size are resampled; what the model makes itself is left out.

    Raises:
        RuntimeError: tensors that are missing, left over or of another shape.
    """
    anew: Any = model
    state = dict(tensors)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    elif "text.positional_embedding" in state and not hasattr(model, "text"):
        state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    for name in ("logit_scale", "logit_bias"):  # a number or a vector of one
        if name in state and getattr(model, name, None) is not None:
            state[name] = state[name].reshape(getattr(anew, name).shape)
    if "logit_bias" not in state and getattr(model, "logit_bias", None) is not None:
        state["logit_bias"] = torch.zeros_like(anew.logit_bias)
    made = {name for name, _ in model.named_buffers()} - set(model.state_dict())
    state = {k: t for k, t in state.items() if k not in made and not k.endswith("position_ids")}
    if all(name in state for name in ("visual.positional_embedding", "visual.conv1.weight")):
        resize_pos_embed(state, model)
    if any(name.endswith("positional_embedding") and not name.startswith("visual.") for name in state):
        resize_text_pos_embed(state, model)
    model.load_state_dict(state)
