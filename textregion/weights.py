"""Where a checkpoint comes from, a file, a hub id or the bundled miniatures, and the parts that are made of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import open_clip
import sam2
import torch
from torch import nn

from .checkpoints import build_sam2, read_tensors, sha256
from .encoders.base import Encoder, Preprocess
from .encoders.loading import DEFAULT_ARCHITECTURE, load_encoder, resolve_architecture, resolve_pretrained
from .errors import UserError, reason_of
from .masks import MaskGenerator
from .options import PRESETS, SegmenterOptions, Task
from .runtime import DtypeName, Precision, resolve_device
from .text import TextBank

DEFAULT_SAM2 = "facebook/sam2.1-hiera-large"
DEFAULT_CLIP = "openai"
_SAM2_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
_SAM2_NAME = re.compile(r"sam2(?P<minor>\.1)?[-_]hiera[-_](?P<size>tiny|small|base[-_]plus|large)")


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
    device: str | torch.device | None = None,
    dtype: DtypeName = "fp32",
    task: Task = "demo",
    options: SegmenterOptions | Mapping[str, Any] | None = None,
    text_cache: str | os.PathLike[str] | None = None,
    compiled: bool = False,
) -> SegmenterParts:
    """The parts of a segmenter by names; without any, the bundled miniatures with the settings that suit them.

    Args:
        clip_architecture, clip_pretrained: see :func:`textregion.load_encoder`. Naming any real model switches both:
            the other then is openai's ViT-L/14@336px or facebook/sam2.1-hiera-large.
        clip_download_root: folder that downloads are kept in.
        sam2_checkpoint: a file or a hub id.
        model_cfg: SAM 2's config, a name inside the sam2 package or a YAML file; None: by the checkpoint's name.
        device: cpu, cuda, mps; None: the best there is.
        dtype: fp32 or bf16 (autocast of the frozen models).
        task: whose preset the options start from.
        options: complete options, or single ones over the preset.
        text_cache: folder that word embeddings are kept in.
        compiled: let ``torch.compile`` make faster code of both image towers; the first picture then takes a minute.

    Raises:
        UserError: a name, checkpoint, config, device or option that is wrong.
    """
    where, _ = resolve_device(device)
    precision = Precision(dtype)
    suited: dict[str, Any] = {}
    if uses_miniatures(clip_architecture, clip_pretrained, sam2_checkpoint):
        encoder, suited = load_miniature_clip(where)
        model = load_sam2(_bundled("sam2_miniature.safetensors"), _bundled("sam2_miniature.yaml"), where)
    else:
        architecture, pretrained = resolve_clip(clip_architecture, clip_pretrained)
        checkpoint = check_sam2(sam2_checkpoint, model_cfg)
        model = load_sam2(checkpoint, model_cfg, where)
        encoder = load_encoder(architecture, pretrained, device=where, cache_dir=clip_download_root)
    if compiled:
        _compile(encoder, model, where)
    if not isinstance(options, SegmenterOptions):
        options = SegmenterOptions.from_mapping({**PRESETS[task], **suited, **(options or {})})
    generator = MaskGenerator(model, options, precision)
    text = TextBank(encoder, text_cache, precision)
    return SegmenterParts(encoder, generator, options, text, precision)


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


def resolve_clip(architecture: str | None, pretrained: str | None) -> tuple[str, str]:
    """open_clip's names of the architecture and weights that are meant, each the other's default; loads nothing.

    Raises:
        UserError: an unknown architecture or tag, or weights that do not tell their architecture.
    """
    if architecture is None:
        pretrained = pretrained or DEFAULT_CLIP
        architecture = DEFAULT_ARCHITECTURE.get(pretrained)
    if architecture is None:
        raise UserError(f"Say which architecture the weights {pretrained!r} belong to: add --clip_architecture.")
    name = resolve_architecture(architecture)
    return name, resolve_pretrained(name, pretrained)


def check_sam2(checkpoint: str | os.PathLike[str] | None, model_cfg: str | os.PathLike[str] | None) -> str:
    """The checkpoint that is meant, facebook/sam2.1-hiera-large where none is named; loads nothing.

    Raises:
        UserError: neither a file nor a known hub id, or a config that is unknown or cannot be told from the name.
    """
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    name = DEFAULT_SAM2 if checkpoint is None else os.fspath(checkpoint)
    if not os.path.exists(name) and name not in HF_MODEL_ID_TO_FILENAMES:
        known = ", ".join(HF_MODEL_ID_TO_FILENAMES)
        raise UserError(f"SAM 2 checkpoint {name!r} is neither a file nor a hub id: use a file, or one of {known}.")
    _sam2_config(name, model_cfg)
    return name


def load_miniature_clip(device: torch.device | str = "cpu") -> tuple[Encoder, dict[str, Any]]:
    """The bundled CLIP and the options that suit the miniatures."""
    config = _miniature_config()
    model = open_clip.CLIP(**config["model_cfg"])
    weights = _bundled("clip_miniature.safetensors")
    model.load_state_dict(read_tensors(weights, "state_dict"))
    recipe = config["preprocess_cfg"]
    encoder = load_encoder(
        model,
        tokenizer=open_clip.SimpleTokenizer(context_length=config["model_cfg"]["text_cfg"]["context_length"]),
        preprocess=Preprocess(tuple(recipe["mean"]), tuple(recipe["std"]), recipe["interpolation"]),
        crop_size=recipe["size"],
        device=device,
        label=f"miniature:{sha256(weights)[:12]}",
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


def load_sam2(
    checkpoint: str | os.PathLike[str],
    model_cfg: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """A frozen SAM 2 or 2.1 model, built without postprocessing.

    Args:
        checkpoint: a ``.pt`` or ``.safetensors`` file, or a hub id such as ``facebook/sam2.1-hiera-large``.
        model_cfg: a YAML file or a name inside the sam2 package; None: by the checkpoint's name.
        device: where to run; None: the best there is.

    Raises:
        UserError: a checkpoint that cannot be had or does not fit, or a config that is wrong.
    """
    where, _ = resolve_device(device)
    name = check_sam2(checkpoint, model_cfg)
    config = _sam2_config(name, model_cfg)
    path = Path(name) if os.path.exists(name) else _download_sam2(name)
    model = build_sam2(config)
    state = read_tensors(path, "model")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"SAM 2 checkpoint {name!r} does not fit the config {config.name} ({reason_of(error)}): "
            "name its own with --model_cfg."
        ) from None
    return model.to(where).eval().requires_grad_(False)


def _sam2_config(checkpoint: str, model_cfg: str | os.PathLike[str] | None) -> Path:
    package = Path(sam2.__file__).parent
    if model_cfg is not None:
        for path in (Path(model_cfg), package / model_cfg, package / "configs" / model_cfg):
            if path.is_file():
                return path
        raise UserError(f"SAM 2 config {os.fspath(model_cfg)!r} is neither a file nor a name inside the sam2 package.")
    match = _SAM2_NAME.search(Path(checkpoint).name)
    if match is None:
        raise UserError(
            f"The name of SAM 2 checkpoint {checkpoint!r} does not tell its size: name its config with --model_cfg, "
            "for instance configs/sam2.1/sam2.1_hiera_l.yaml."
        )
    version = "sam2" + (match["minor"] or "")
    return package / "configs" / version / f"{version}_hiera_{_SAM2_SIZES[match['size'].replace('-', '_')]}.yaml"


def _download_sam2(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    try:
        return Path(hf_hub_download(repo_id=name, filename=HF_MODEL_ID_TO_FILENAMES[name][1]))
    except Exception as error:  # the hub's client raises errors of many libraries; all mean the same to a user
        raise UserError(
            f"SAM 2 checkpoint {name!r} could not be downloaded ({reason_of(error)}): give a file."
        ) from None


def _bundled(name: str) -> Path:
    path = Path(str(resources.files("textregion") / "bundled" / name))
    if not path.is_file():
        raise UserError(f"The bundled file {name!r} is missing: install TextRegion again, or name real models.")
    return path
