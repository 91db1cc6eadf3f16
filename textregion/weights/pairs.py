"""Pairs of frozen models by size, and which one is meant where none is named."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ModelPair:
    """An image-text model and a SAM 2."""

    clip_architecture: str
    clip_pretrained: str
    sam2_checkpoint: str
    gigabytes: float
    """About what both files have together."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.clip_architecture} ({self.clip_pretrained}) and {self.sam2_checkpoint.rpartition('/')[2]}"


PAIRS = {
    "small": ModelPair("ViT-B/16", "openai", "facebook/sam2.1-hiera-tiny", 0.8),
    "base": ModelPair("ViT-L/14@336px", "openai", "facebook/sam2.1-hiera-base-plus", 2.0),
    "large": ModelPair("ViT-L/14@336px", "openai", "facebook/sam2.1-hiera-large", 2.6),
    "huge": ModelPair("ViT-H/14", "laion2b_s32b_b79k", "facebook/sam2.1-hiera-large", 4.8),
}


def default_size(device: torch.device) -> str:
    """The pair for pictures of one's own: on a CPU the small one."""
    return "small" if device.type == "cpu" else "large"
