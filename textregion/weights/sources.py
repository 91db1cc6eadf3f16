"""Both frozen models together: what is meant, what is on this machine, and what has to be downloaded first."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..checkpoints.hub import Need, fetch, missing
from ..checkpoints.reading import read_checkpoint
from ..encoders.sources import ClipSource, find_clip
from .sam2 import Sam2Source, build_sam2, find_sam2


@dataclass(frozen=True)
class ModelSources:
    """The weights of a segmenter before they are loaded."""

    clip: ClipSource
    sam2: Sam2Source

    @property
    def needs(self) -> list[Need]:
        """What is not on this machine; where only optional files are, nothing has to be downloaded."""
        return missing([*self.clip.needs, *self.sam2.needs])

    @property
    def required(self) -> list[Need]:
        """What has to be downloaded before the models can be loaded."""
        return [need for need in self.needs if not need.optional]


def find_models(
    clip_architecture: str | None = None,
    clip_pretrained: str | None = None,
    clip_download_root: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    sam2_checkpoint: str | os.PathLike[str] | None = None,
    model_cfg: str | os.PathLike[str] | None = None,
) -> ModelSources:
    """The weights that are meant; asks no network and loads nothing.

    The arguments are those of :func:`textregion.weights.load_parts`.

    Raises:
        UserError: a name, file or folder that is wrong.
    """
    clip = find_clip(clip_architecture, clip_pretrained, download_root=clip_download_root, tokenizer=tokenizer)
    return ModelSources(clip, find_sam2(sam2_checkpoint, model_cfg))


def fetch_models(sources: ModelSources, announce: Callable[[Sequence[Need]], object] | None = None) -> None:
    """Download what is missing of both models in one go.

    Args:
        sources: see :func:`find_models`.
        announce: is told what will be downloaded, before it is.

    Raises:
        UserError: the network is out of reach, with all that is missing; or a file that was given is none.
    """
    if not sources.required:
        return
    if sources.sam2.weights is not None:  # a mistake in what was given is said before anything is downloaded
        build_sam2(sources.sam2.config)
        read_checkpoint(sources.sam2.weights)
    if sources.clip.weights is not None and sources.clip.weights.suffix not in (".npz", ".npy"):
        read_checkpoint(sources.clip.weights)
    fetch(sources.needs, announce)
