"""Where a checkpoint comes from, a file, a hub id or the bundled miniatures, and the parts that are made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import open_clip
import torch

from .. import published as as_published
from ..checkpoints.reading import read_checkpoint
from ..encoders.base import Encoder, Preprocess
from ..encoders.loading import load_encoder
from ..errors import UserError, reason_of
from ..masks import MaskGenerator
from ..options import SegmenterOptions, Task, preset
from ..runtime import DtypeName, Precision, resolve_device
from ..templates import TemplatesLike, load_templates
from ..text import TextBank
from .sam2 import DEFAULT_SAM2, load_sam2
from .sources import fetch_models, find_models


@dataclass(frozen=True)
class SegmenterParts:
    """What a segmenter is made of."""

    encoder: Encoder
    mask_generator: MaskGenerator
    options: SegmenterOptions
    text: TextBank
    precision: Precision


def load_parts(
    *,
    clip_architecture: str | None = None,
    clip_pretrained: str | None = None,
    clip_download_root: str | os.PathLike[str] | None = None,
    sam2_checkpoint: str | os.PathLike[str] | None = None,
    model_cfg: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: DtypeName | None = None,
    sam2_dtype: DtypeName | None = None,
    published: bool = False,
    task: Task = "demo",
    options: SegmenterOptions | Mapping[str, Any] | None = None,
    templates: TemplatesLike = "imagenet",
    text_cache: str | os.PathLike[str] | None = None,
    compiled: bool = False,
) -> SegmenterParts:
    """The parts of a segmenter by names; without any, the bundled miniatures with the settings that suit them.

    Args:
        clip_architecture, clip_pretrained: see :func:`textregion.load_encoder`. Naming any real model switches both:
            the other then is openai's ViT-L/14@336px or facebook/sam2.1-hiera-large.
        clip_download_root: folder that downloads are kept in.
        sam2_checkpoint: a file, a folder with one, or a hub id.
        model_cfg: SAM 2's config, a name inside the sam2 package or a YAML file; None: by the checkpoint's name.
        tokenizer: a folder or a repository of the hub; None: one beside the weights, or the architecture's own.
        device: cpu, cuda, mps; None: the best there is.
        dtype: fp32 or bf16 (autocast of the frozen models); None: fp32.
        sam2_dtype: SAM 2's, where it differs; None: dtype, or what ``published`` says where that is None too.
        published: antialiasing and SAM 2's precision are those of the published evaluations
            (:mod:`textregion.published`), where they are not given.
        task: whose preset the options start from.
        options: complete options, or single ones over the presets.
        templates: what words are put into, see :func:`textregion.templates.load_templates`.
        text_cache: folder that word embeddings are kept in.
        compiled: let ``torch.compile`` make faster code of both image towers; the first picture then takes a minute.

    Raises:
        UserError: a name, checkpoint, config, device or option that is wrong.
    """
    where, _ = resolve_device(device)
    prompts = load_templates(templates)
    precision = Precision(dtype or "fp32")
    sam2_dtype = sam2_dtype or dtype or (as_published.sam2_dtype(task, where) if published else "fp32")
    suited: dict[str, Any] = {}
    if uses_miniatures(clip_architecture, clip_pretrained, sam2_checkpoint):
        encoder, suited = load_miniature_clip(where)
        model = load_sam2(_bundled("sam2_miniature.safetensors"), _bundled("sam2_miniature.yaml"), where)
    else:
        fetch_models(
            find_models(clip_architecture, clip_pretrained, clip_download_root, tokenizer, sam2_checkpoint, model_cfg)
        )
        model = load_sam2(sam2_checkpoint or DEFAULT_SAM2, model_cfg, where)
        encoder = load_encoder(
            clip_architecture, clip_pretrained, tokenizer=tokenizer, device=where, cache_dir=clip_download_root
        )
    if compiled:
        _compile(encoder, model, where)
    if not isinstance(options, SegmenterOptions):
        pinned = as_published.OPTIONS if published else {}
        base = preset(task, encoder.weights_origin)
        options = SegmenterOptions.from_mapping({**base, **suited, **pinned, **(options or {})})
    generator = MaskGenerator(model, options, Precision(sam2_dtype))
    text = TextBank(encoder, text_cache, precision, prompts)
    return SegmenterParts(encoder, generator, options, text, precision)


def load_text_bank(
    *,
    clip_architecture: str | None = None,
    clip_pretrained: str | None = None,
    clip_download_root: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    sam2_checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: DtypeName = "fp32",
    templates: TemplatesLike = "imagenet",
    text_cache: str | os.PathLike[str] | None = None,
) -> TextBank:
    """The word embeddings of the segmenter that :func:`load_parts` gives for these names, without SAM 2.

    Raises:
        UserError: a name, checkpoint or device that is wrong.
    """
    where, _ = resolve_device(device)
    prompts = load_templates(templates)
    if uses_miniatures(clip_architecture, clip_pretrained, sam2_checkpoint):
        encoder, _ = load_miniature_clip(where)
    else:
        encoder = load_encoder(
            clip_architecture, clip_pretrained, tokenizer=tokenizer, device=where, cache_dir=clip_download_root
        )
    return TextBank(encoder, text_cache, Precision(dtype), prompts)


def _compile(encoder: Any, sam2_model: Any, device: torch.device) -> None:
    """Compile what takes the image towers' time, once something small has shown that this machine can."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # of PyTorch, of a compiler that is not there, of a driver ...
        raise UserError(f"PyTorch cannot compile models here ({reason_of(error)}): leave --compile out.") from None
    encoder.patch_features = torch.compile(encoder.patch_features)
    sam2_model.image_encoder.compile()


def uses_miniatures(*names: object) -> bool:
    """True where no real model was named."""
    return all(name is None for name in names)


def load_miniature_clip(device: torch.device | str = "cpu") -> tuple[Encoder, dict[str, Any]]:
    """The bundled CLIP and the options that suit the miniatures."""
    config = _miniature_config()
    model = open_clip.CLIP(**config["model_cfg"])
    weights = _bundled("clip_miniature.safetensors")
    model.load_state_dict(read_checkpoint(weights).tensors)
    recipe = config["preprocess_cfg"]
    encoder = load_encoder(
        model,
        tokenizer=open_clip.SimpleTokenizer(context_length=config["model_cfg"]["text_cfg"]["context_length"]),
        preprocess=Preprocess(tuple(recipe["mean"]), tuple(recipe["std"]), recipe["interpolation"]),
        crop_size=recipe["size"],
        device=device,
        label="miniature",
    )
    return encoder, config["segmenter_options"]


def miniature_options() -> dict[str, Any]:
    """The options that suit the bundled miniatures, without loading them."""
    options: dict[str, Any] = _miniature_config()["segmenter_options"]
    return options


def _miniature_config() -> dict[str, Any]:
    with open(_bundled("clip_miniature.json"), encoding="utf-8") as file:
        config: dict[str, Any] = json.load(file)
    return config


def _bundled(name: str) -> Path:
    path = Path(str(resources.files("textregion") / "bundled" / name))
    if not path.is_file():
        raise UserError(f"The bundled file {name!r} is missing: install TextRegion again, or name real models.")
    return path
