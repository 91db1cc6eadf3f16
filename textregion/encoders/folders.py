"""Folders of an image-text model: open_clip's own, and snapshots of the hub in its or in transformers' form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from ..errors import UserError, reason_of
from .base import Preprocess
from .names import is_supported, supported_architectures

OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
TRANSFORMERS_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".npz")
VOCABULARIES = ("tokenizer.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "vocab.txt")
_SIGLIP_SIZES = {768: "base", 1024: "large", 1152: "so400m", 1536: "giantopt"}


@dataclass(frozen=True)
class ModelFolder:
    """What a folder says about the model in it."""

    path: Path
    config: Mapping[str, Any] | None
    """open_clip's ``model_cfg``; None: the folder does not say."""
    preprocess: Preprocess | None
    activation_stated: bool
    """Whether the folder says which activation the model has."""


def snapshot(folder: Path) -> Path:
    """The folder itself, or the newest snapshot in it where it is a repository of the hub's cache."""
    snapshots = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
    if not snapshots:
        return folder
    main = folder / "refs" / "main"
    newest = max(snapshots, key=lambda path: path.stat().st_mtime_ns)
    named = folder / "snapshots" / main.read_text(encoding="utf-8").strip() if main.is_file() else newest
    return named if named.is_dir() else newest


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder.

    Raises:
        UserError: there is none, or several of which none has a usual name.
    """
    usual = [folder / name for name in (*OPEN_CLIP_WEIGHTS, *TRANSFORMERS_WEIGHTS) if (folder / name).is_file()]
    if usual:
        return usual[0]
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"Folder {os.fspath(folder)!r} holds no weights: give one with {OPEN_CLIP_WEIGHTS[0]}, or a file."
        )
    names = ", ".join(path.name for path in found)
    raise UserError(f"Folder {os.fspath(folder)!r} holds several files of weights ({names}): give one of them.")


def tokenizer_in(folder: Path) -> Path | None:
    """The folder where it holds a tokenizer."""
    return folder if any((folder / name).is_file() for name in VOCABULARIES) else None


def read_folder(folder: Path) -> ModelFolder:
    """What the configs in a folder say.

    Raises:
        UserError: a config that cannot be read, or of a model that is not supported.
    """
    ours, theirs = _json(folder / "open_clip_config.json"), _json(folder / "config.json")
    if ours is not None:
        config = ours.get("model_cfg", ours)
        _check(config, folder / "open_clip_config.json")
        config = _with_tower_here(config, folder)
        stated = ours.get("preprocess_cfg")
        return ModelFolder(folder, config, stated_preprocess(stated) if stated else None, True)
    if theirs is not None and theirs.get("model_type") in ("clip", "siglip", "siglip2"):
        config = _of_clip(theirs) if theirs["model_type"] == "clip" else _of_siglip(theirs)
        return ModelFolder(folder, config, _of_processor(folder), config is not None)
    return ModelFolder(folder, None, None, False)


def stated_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """How a ``preprocess_cfg`` of open_clip wants the input; what it does not say is as OpenAI's models want it."""
    defaults = open_clip.transform.PreprocessCfg()
    mean, std = (tuple(config.get(name) or getattr(defaults, name)) for name in ("mean", "std"))
    mode = config.get("interpolation") or defaults.interpolation
    return Preprocess(mean, std, "bilinear" if mode == "bilinear" else "bicubic")


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Config {os.fspath(path)!r} cannot be read ({reason_of(error)}): mend it.") from None
    if not isinstance(content, dict):
        raise UserError(f"Config {os.fspath(path)!r} holds no names and values: give a model's own.")
    return content


def _with_tower_here(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With the config of transformers' text tower in the folder itself where it lies there."""
    tower = folder / str(config["text_cfg"].get("hf_model_name", ""))
    if tower == folder or not (tower / "config.json").is_file():
        return config
    return {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": os.fspath(tower)}}


def _check(config: Any, path: Path) -> None:
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    if not isinstance(config, dict) or not all(part in config for part in parts):
        raise UserError(f"Config {os.fspath(path)!r} describes no image-text model: it needs {', '.join(parts)}.")
    if not is_supported(config):
        raise UserError(
            f"Config {os.fspath(path)!r} has an image tower that is not supported: use a CLIP ViT, SigLIP, SigLIP2 or "
            "PE-Core model."
        )


def known_architecture(config: Mapping[str, Any]) -> str | None:
    """open_clip's name of a ``model_cfg``, whichever its activation; None: it has no such model."""
    plain = _without_activation(config)
    names = (
        name for name in supported_architectures() if _without_activation(open_clip.get_model_config(name)) == plain
    )
    return next(names, None)


def _without_activation(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "quick_gelu"}


def _of_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's ``model_cfg`` of a ``CLIPModel``."""
    from transformers import CLIPConfig

    whole: Any = CLIPConfig.from_dict(dict(config))
    vision, text = whole.vision_config, whole.text_config
    return {
        "embed_dim": whole.projection_dim,
        "quick_gelu": vision.hidden_act == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
    }


def _of_siglip(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``model_cfg`` of the SigLIP in open_clip of the same sizes; None: it has none."""
    from transformers import Siglip2Config, SiglipConfig

    kind: Any = SiglipConfig if config["model_type"] == "siglip" else Siglip2Config
    whole = kind.from_dict(dict(config))
    vision, patch = whole.vision_config, whole.vision_config.patch_size
    side = getattr(vision, "image_size", None) or round(vision.num_patches**0.5) * patch
    size = _SIGLIP_SIZES.get(vision.hidden_size, "other")
    for name in supported_architectures():
        known = open_clip.get_model_config(name)
        sizes = (known["vision_cfg"]["image_size"], known["text_cfg"].get("vocab_size"))
        tower = known["vision_cfg"].get("timm_model_name", "")
        if sizes == (side, whole.text_config.vocab_size) and f"_{size}_patch{patch}_siglip" in tower:
            return dict(known)
    return None


def _of_processor(folder: Path) -> Preprocess | None:
    """What transformers' ``preprocessor_config.json`` says about the input."""
    config = _json(folder / "preprocessor_config.json") or {}
    if "image_mean" not in config:
        return None
    return Preprocess(
        tuple(config["image_mean"]),
        tuple(config["image_std"]),
        "bilinear" if config.get("resample") == 2 else "bicubic",
    )
