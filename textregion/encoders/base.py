"""The contract between the method and a frozen image-text model; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..options import PoolFeature


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its input; it travels with the model."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class PatchFeatures:
    """What one pass of the image tower gives, for V views of g x g patches."""

    values: Tensor
    """(V, C, g, g): what is fused and pooled."""
    dense: Tensor | None = None
    """(V, D, g, g): L2-normalised dense embedding of every patch; None where it was not asked for."""


class Encoder(Protocol):
    """A frozen image-text model. C: channels of the tower, D: size of the joint embedding."""

    name: str
    """Identifies model and weights, by a digest of all its values; the key of caches."""
    weights_origin: str | None
    """Whose weights they are, as open_clip's tag (openai, laion2b_s32b_b79k, webli, meta ...); None: not known."""
    preprocess: Preprocess
    crop_size: int
    """Side of the square input in pixels that the method uses by default."""
    patch_size: int
    width: int
    """Channels of the image tower's tokens."""
    embed_dim: int
    """D."""
    pooling: Literal["sum", "mean"]
    """``sum``: soft weights as they are; ``mean``: uniform over the patches of a region (section 8)."""
    global_weight: float
    """a, the weight of the global view when the views are fused (section 4)."""
    has_dense: bool
    """Whether ``patch_features(dense=True)`` is possible (CLIP ViT)."""
    fixed_crop_size: bool
    """Whether inputs of another side than ``crop_size`` are refused."""

    @property
    def device(self) -> torch.device: ...

    def patch_features(self, views: Tensor, *, feature: PoolFeature = "value", dense: bool = False) -> PatchFeatures:
        """(V, 3, S, S) normalised views -> patch features (section 3)."""

    def project(self, pooled: Tensor, *, feature: PoolFeature = "value", mlp: bool = True) -> Tensor:
        """(R, C) pooled values -> (R, D) L2-normalised region tokens (section 8)."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """n texts -> (n, L) token ids; longer texts are truncated."""

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(n, L) token ids -> (n, D) L2-normalised text features."""

    def scores(self, tokens: Tensor, text: Tensor) -> Tensor:
        """(R, D) region tokens and (K, D) text features -> (R, K) scores (section 10)."""
