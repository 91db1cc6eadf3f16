"""SAM 2's weights in transformers' naming (Sam2Model, Sam2VideoModel) -> those of Meta's package."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_PAIRS = (
    # Meta's name, transformers' name; each is replaced in turn
    ("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    ("sam_prompt_encoder.mask_downscaling.0", "prompt_encoder.mask_embed.conv1"),
    ("sam_prompt_encoder.mask_downscaling.1", "prompt_encoder.mask_embed.layer_norm1"),
    ("sam_prompt_encoder.mask_downscaling.3", "prompt_encoder.mask_embed.conv2"),
    ("sam_prompt_encoder.mask_downscaling.4", "prompt_encoder.mask_embed.layer_norm2"),
    ("sam_prompt_encoder.mask_downscaling.6", "prompt_encoder.mask_embed.conv3"),
    ("sam_mask_decoder.output_upscaling.0", "mask_decoder.upscale_conv1"),
    ("sam_mask_decoder.output_upscaling.1", "mask_decoder.upscale_layer_norm"),
    ("sam_mask_decoder.output_upscaling.3", "mask_decoder.upscale_conv2"),
    ("sam_prompt_encoder.", "prompt_encoder."),
    ("sam_mask_decoder.", "mask_decoder."),
    ("image_encoder.trunk.patch_embed.proj.", "vision_encoder.backbone.patch_embed.projection."),
    ("image_encoder.trunk.", "vision_encoder.backbone."),
    ("image_encoder.neck.", "vision_encoder.neck."),
    (".conv.", "."),
    (".out_proj.", ".o_proj."),
    (".norm_final_attn.", ".layer_norm_final_attn."),
    (".norm", ".layer_norm"),
)
_MEMORY = re.compile(r"memory_|maskmem_|no_mem_pos_enc|no_obj_|obj_ptr_|mask_downsample")
"""What follows things through a video: not used for pictures, and not in Sam2Model."""


def from_transformers(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict for a SAM 2 of Meta's package; what only videos need becomes zero.

    Raises:
        KeyError: a weight that is not there.
    """
    own = model.state_dict()
    return {
        name: torch.zeros_like(value) if _MEMORY.match(name) else _find(name, tensors, own)
        for name, value in own.items()
    }


def _find(name: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Tensor:
    if name == "no_mem_embed":
        return tensors["no_memory_embedding"]
    if ".point_embeddings." in name:
        row = int(name.split(".")[2])
        return tensors["prompt_encoder.point_embed.weight"][row : row + 1]
    return tensors[_renamed(name, own)]


def _renamed(name: str, own: Mapping[str, Tensor]) -> str:
    mlp = re.fullmatch(r"(.*(?:mlp|mlps\.\d+|head))\.layers\.(\d+)\.(weight|bias)", name)
    if mlp:
        last = sum(re.fullmatch(rf"{re.escape(mlp[1])}\.layers\.\d+\.weight", other) is not None for other in own) - 1
        number = int(mlp[2])
        place = "proj_in" if number == 0 else "proj_out" if number == last else f"layers.{number - 1}"
        name = f"{mlp[1]}.{place}.{mlp[3]}"
    for meta, theirs in _PAIRS:
        name = name.replace(meta, theirs)
    return name
