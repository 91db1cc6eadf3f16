"""A folder of weights that can be carried to a machine without network, and says what is in it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checkpoints.reading import INDEX, shards
from ..encoders.folders import TOKENIZER_FILES
from ..encoders.sources import ClipSource
from ..errors import UserError
from ..files import replacing, write_bytes
from .sam2 import Sam2Source, published_name, tells_its_size
from .sources import ModelSources

TEXT_TOWER = "text_tower"
"""Folder of the config of a text tower that is transformers' own."""


def carry(sources: ModelSources, folder: Path, model_cfg: str | None) -> dict[str, str]:
    """Copy all that two models need into a folder, the larger files with a bar.

    Args:
        sources: of which nothing is missing.
        folder: made where it is missing.
        model_cfg: SAM 2's config where its name did not tell it.

    Returns:
        The options, by name, that load them there.

    Raises:
        UserError: the folder cannot be written.
    """
    copies, clip = _of_clip(sources.clip, folder)
    more, sam2 = _of_sam2(sources.sam2, folder, model_cfg)
    try:
        for source, target in tqdm([*copies, *more], desc="copy", unit="file", disable=None):
            _copy(source, target)
        config = clip / "open_clip_config.json"
        write_bytes(config, json.dumps(_config(sources.clip), indent=2).encode())
    except OSError as error:
        raise UserError(f"Folder {os.fspath(folder)!r} cannot be written ({error.strerror or error}).") from None
    options = {"clip_pretrained": clip, **sam2}
    return {name: shlex.quote(os.fspath(path)) for name, path in options.items()}


Copies = list[tuple[Path, Path]]


def _of_clip(source: ClipSource, folder: Path) -> tuple[Copies, Path]:
    assert source.weights is not None  # nothing is missing
    target = folder / (source.label if source.tag is None else f"{source.label}.{source.tag}")
    files = [source.weights]
    if source.weights.name.endswith(INDEX):
        files += shards(source.weights)
    if source.tokenizer is not None:
        files += [
            path for path in source.tokenizer.iterdir() if path.name in TOKENIZER_FILES or path.suffix == ".model"
        ]
    copies = [(file, target / file.name) for file in files]
    tower = source.config["text_cfg"].get("hf_model_name")
    if tower is not None:
        copies.append((Path(tower) / "config.json", target / TEXT_TOWER / "config.json"))
    return copies, target


def _of_sam2(source: Sam2Source, folder: Path, model_cfg: str | None) -> tuple[Copies, dict[str, Path]]:
    assert source.weights is not None  # nothing is missing
    name = source.weights.name
    if not tells_its_size(name) and model_cfg is None:  # the folder's name told it
        name = published_name(source.config) + source.weights.suffix
    target = folder / name
    if model_cfg is None:
        return [(source.weights, target)], {"sam2_checkpoint": target}
    config = folder / source.config.name
    return [(source.weights, target), (source.config, config)], {"sam2_checkpoint": target, "model_cfg": config}


def _config(source: ClipSource) -> dict[str, Any]:
    """``open_clip_config.json``, by which the folder is understood without any other name."""
    text = dict(source.config["text_cfg"])
    if "hf_model_name" in text:
        text["hf_model_name"] = TEXT_TOWER
    config: dict[str, Any] = {"model_cfg": {**source.config, "text_cfg": text}}
    if source.preprocess is not None:
        config["preprocess_cfg"] = vars(source.preprocess)
    return config


def _copy(source: Path, target: Path) -> None:
    """A copy that is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
