"""The tiny frozen models that the recorded stages were made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.timm_model import TimmModel
from safetensors.torch import load_file
from torch import Tensor, nn

from textregion import Encoder, load_encoder, load_sam2

CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 96, "patch_size": 16, "width": 128, "layers": 3, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
SIGLIP_LOGIT_SCALE, SIGLIP_LOGIT_BIAS = 2.0, -3.0


def load_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file in float32."""
    return {name: value.float() for name, value in load_file(path).items()}


def tiny_clip(weights: Path) -> nn.Module:
    """``clip_tiny``: an open_clip CLIP."""
    model = open_clip.CLIP(**CLIP_CONFIG)
    model.load_state_dict(load_tensors(weights / "clip_tiny.safetensors"))
    return model.eval()


class TinyTower(nn.Module):
    """A timm trunk in open_clip's wrapper, with ``clip_tiny``'s text tower beside it."""

    def __init__(self, trunk: nn.Module, image_size: int, text: nn.Module) -> None:
        super().__init__()
        self.visual = TimmModel("vit_tiny_patch16_224", embed_dim=64, image_size=image_size, pool="", proj=None)
        self.visual.trunk = trunk
        self.visual.head = nn.Identity()
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(0.0))
        self.logit_bias: nn.Parameter | None = None

    def encode_text(self, tokens: Tensor) -> Tensor:
        """As in open_clip's models."""
        return self.text.encode_text(tokens)  # type: ignore[operator]


def tiny_timm(family: str, weights: Path) -> nn.Module:
    """``siglip2_tiny`` or ``pe_tiny``, in the shape of an open_clip model."""
    if family == "siglip2":
        size, name, classes = 96, "vit_base_patch16_siglip_224", 0
    else:
        size, name, classes = 224, "vit_pe_core_base_patch16_224", 64
    trunk = timm.create_model(
        name, img_size=size, embed_dim=128, depth=3, num_heads=2, num_classes=classes, global_pool="map"
    )
    trunk.load_state_dict(load_tensors(weights / f"{family}_tiny.safetensors"))
    model = TinyTower(trunk.eval(), size, tiny_clip(weights))
    if family == "siglip2":
        model.logit_scale.data.fill_(SIGLIP_LOGIT_SCALE)
        model.logit_bias = nn.Parameter(torch.tensor(SIGLIP_LOGIT_BIAS))
    return model


def tiny_encoder(family: str, weights: Path, crop_size: int | None = None) -> Encoder:
    """The encoder of a family (clip, siglip2, pe), on the CPU."""
    model = tiny_clip(weights) if family == "clip" else tiny_timm(family, weights)
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    return load_encoder(model, tokenizer=tokenizer, crop_size=crop_size, device="cpu", label=f"{family}_tiny")


def tiny_sam2(weights: Path) -> nn.Module:
    """``sam2_tiny``."""
    return load_sam2(weights / "sam2_tiny.safetensors", weights / "sam2_tiny.yaml", "cpu")


def read_case(case: Path) -> dict[str, Any]:
    """Settings of a recorded case."""
    with open(case / "case.json", encoding="utf-8") as file:
        settings: dict[str, Any] = json.load(file)
    return settings
