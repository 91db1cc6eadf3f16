"""Which image-text weights are meant, where they are, and what has to be downloaded; nothing is loaded."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip

from ..checkpoints.digests import sha256
from ..checkpoints.hub import CacheFolder, Need, cached_file
from ..errors import UserError
from .base import Preprocess
from .folders import (
    OPEN_CLIP_WEIGHTS,
    TOKENIZER_FILES,
    TRANSFORMERS_WEIGHTS,
    VOCABULARIES,
    known_architecture,
    read_folder,
    snapshot,
    stated_preprocess,
    tokenizer_in,
    weights_in,
)
from .names import (
    DEFAULT_ARCHITECTURE,
    TAG_ALIASES,
    resolve_architecture,
    resolve_pretrained,
    supported_architectures,
)
from .published import (
    QUICK,
    architecture_of,
    is_quick,
    model_size,
    openai_digest,
    openai_files,
    tag_of,
    tokenizer_size,
)
from .tokenizers import wants_own_tokenizer

logger = logging.getLogger(__name__)

DEFAULT_CLIP = "openai"
HUB, FOLDER = "hf-hub:", "local-dir:"
_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ClipSource:
    """Image-text weights: what is known of them before they are loaded."""

    label: str
    """The architecture, or where it is from; what an encoder's name begins with."""
    config: Mapping[str, Any]
    """open_clip's ``model_cfg``."""
    weights: Path | None = None
    """Their file; None: it is among ``needs``."""
    tag: str | None = None
    """open_clip's tag of them, where it is known."""
    preprocess: Preprocess | None = None
    tokenizer: Path | None = None
    """Folder of the tokenizer; None: open_clip's own, or it is among ``needs``."""
    needs: tuple[Need, ...] = ()
    """What is not on this machine and has to be downloaded first."""
    activation_stated: bool = False
    """Whether it is certain that the config's activation (GELU, QuickGELU) is that of the weights."""


def find_clip(
    architecture: str | None,
    pretrained: str | os.PathLike[str] | None,
    *,
    download_root: CacheFolder = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> ClipSource:
    """The image-text weights that are meant; asks no network.

    Args:
        architecture: a name, ``hf-hub:org/name``, ``local-dir:DIR``; None: what the weights tell.
        pretrained: a tag, a file, a folder, ``hf-hub:org/name``, ``local-dir:DIR``; None: the architecture's usual.
        download_root: folder that downloads are kept in.
        tokenizer: a folder, or a repository of the hub; None: one beside the weights, else the architecture's.

    Raises:
        UserError: an unknown architecture or tag, weights that do not tell their architecture, a folder without any.
    """
    given = None if pretrained is None else os.fspath(pretrained)
    if architecture is not None and _is_place(architecture):
        if given is not None:
            raise UserError(f"{architecture!r} holds weights of its own: leave {given!r} out.")
        architecture, given = None, architecture
    if given is not None and _is_place(given):
        source = _from_place(given, architecture, download_root)
    elif given is not None and os.path.isfile(given) and not _is_tag(architecture, given):
        source = _from_file(Path(given), architecture)
    else:
        source = _from_tag(architecture, given, download_root)
    source = _with_text_tower(source, download_root)
    return _with_tokenizer(source, None if tokenizer is None else os.fspath(tokenizer), download_root)


def _is_place(name: str) -> bool:
    return name.startswith((HUB, FOLDER)) or os.path.isdir(name)


def _is_tag(architecture: str | None, name: str) -> bool:
    """A tag goes before a file of its name."""
    if architecture is None:
        return name in DEFAULT_ARCHITECTURE
    return TAG_ALIASES.get(name, name) in open_clip.list_pretrained_tags_by_model(resolve_architecture(architecture))


def _from_tag(architecture: str | None, pretrained: str | None, root: CacheFolder) -> ClipSource:
    if architecture is None:
        pretrained = pretrained or DEFAULT_CLIP
        architecture = DEFAULT_ARCHITECTURE.get(pretrained)
    if architecture is None:
        kind = f" (for a repository of the hub, write {HUB}{pretrained})" if _ID.fullmatch(pretrained or "") else ""
        raise UserError(f"Say which architecture the weights {pretrained!r} belong to: add --clip_architecture{kind}.")
    name = resolve_architecture(architecture)
    tag = resolve_pretrained(name, pretrained)
    published = open_clip.get_pretrained_cfg(name, tag)
    config = open_clip.get_model_config(name)
    config["quick_gelu"] = bool(published.get("quick_gelu") or config.get("quick_gelu"))
    source = ClipSource(name, config, tag=tag, preprocess=stated_preprocess(published), activation_stated=True)
    own = _openai_file(name, root) if tag == "openai" else None
    if own is not None:
        return replace(source, weights=own)
    repository, filename = os.path.split(published["hf_hub"])
    names = (filename,) if filename else (OPEN_CLIP_WEIGHTS[0], OPEN_CLIP_WEIGHTS[2])
    if filename.endswith((".bin", ".pth")):
        names = (f"{filename[:-4]}.safetensors", filename)
    need = Need(repository, names, cache=root)
    if need.path is None:
        return replace(source, needs=(replace(need, size=model_size(config)),))
    return replace(source, weights=need.path)


def _openai_file(architecture: str, root: CacheFolder) -> Path | None:
    """OpenAI's own file where their package, or a user, has put it."""
    names = [file for file, name in openai_files().items() if name == architecture.removesuffix(QUICK)]
    folder = Path("~/.cache/clip").expanduser() if root is None else Path(root)
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is not None and sha256(path) != openai_digest(architecture):
        logger.warning("%s is not as OpenAI published it (its SHA-256 is another); it is used as it is.", path)
    return path


def _from_file(path: Path, architecture: str | None) -> ClipSource:
    beside = read_folder(path.parent)
    name = resolve_architecture(architecture) if architecture is not None else architecture_of(path)
    if name is None and beside.config is not None:
        name = known_architecture(beside.config)
    if name is None and beside.config is None:
        raise UserError(f"Say which architecture the weights {os.fspath(path)!r} belong to: add --clip_architecture.")
    tag = None if name is None else tag_of(path, name)
    if name is None:
        config: dict[str, Any] = dict(beside.config or {})
        return ClipSource(path.stem, config, path, preprocess=beside.preprocess, activation_stated=True)
    config = open_clip.get_model_config(name)
    told = beside.config.get("quick_gelu", False) if beside.config and beside.activation_stated else None
    if told is None and tag is not None:
        told = is_quick(name, tag)
    if told is not None and not name.endswith(QUICK):
        config["quick_gelu"] = bool(told)
    stated = told is not None or name.endswith(QUICK)
    return ClipSource(name, config, path, tag, beside.preprocess, activation_stated=stated)


def _from_place(place: str, architecture: str | None, root: CacheFolder) -> ClipSource:
    if place.startswith(HUB):
        repository = place.removeprefix(HUB)
        if not _ID.fullmatch(repository):
            raise UserError(f"{place!r} names no repository of the hub: write {HUB}org/name.")
        names = (*OPEN_CLIP_WEIGHTS, *TRANSFORMERS_WEIGHTS)
        weights = Need(repository, names, cache=root)
        if weights.path is None:
            others = [Need(repository, (name,), cache=root, optional=True) for name in _BESIDE]
            return ClipSource(repository, {"text_cfg": {}}, needs=(weights, *others))
        folder = weights.path.parent
    else:
        folder = snapshot(Path(place.removeprefix(FOLDER)))
        if not folder.is_dir():
            raise UserError(f"Folder {os.fspath(folder)!r} does not exist: give one with a model's weights.")
    source = _from_file(weights_in(folder), architecture)
    known = source.label in supported_architectures()
    return source if known else replace(source, label=Path(place.removeprefix(HUB).removeprefix(FOLDER)).name)


def _with_text_tower(source: ClipSource, root: CacheFolder) -> ClipSource:
    """With the config of a text tower that is transformers' own, from this machine."""
    text = source.config["text_cfg"]
    repository = text.get("hf_model_name")
    if not repository or os.path.isdir(repository):
        return source
    need = Need(repository, ("config.json",), 1000, root)
    if need.path is None:
        return replace(source, needs=(*source.needs, need))
    local = {**text, "hf_model_name": os.fspath(need.path.parent)}
    return replace(source, config={**source.config, "text_cfg": local})


_BESIDE = ("open_clip_config.json", "config.json", "preprocessor_config.json", *TOKENIZER_FILES)


def _with_tokenizer(source: ClipSource, given: str | None, root: CacheFolder) -> ClipSource:
    text = source.config["text_cfg"]
    if given is not None:
        given = given.removeprefix(FOLDER)
        if os.path.isdir(given):
            folder = tokenizer_in(snapshot(Path(given)))
            if folder is None:
                raise UserError(f"Folder {given!r} holds no tokenizer: give one with a tokenizer.json.")
            return replace(source, tokenizer=folder)
        repository = given.removeprefix(HUB)
        if not _ID.fullmatch(repository):
            raise UserError(f"Tokenizer {given!r} is neither a folder nor a repository of the hub (org/name).")
        return _tokenizer_from(source, repository, root)
    if not wants_own_tokenizer(text):
        return source
    beside = None if source.weights is None else tokenizer_in(source.weights.parent)
    if beside is not None:
        return replace(source, tokenizer=beside)
    repository = text.get("hf_tokenizer_name")
    return source if not repository else _tokenizer_from(source, repository, root)


def _tokenizer_from(source: ClipSource, repository: str, root: CacheFolder) -> ClipSource:
    for name in VOCABULARIES:
        path = cached_file(repository, name, root)
        if path is not None:
            return replace(source, tokenizer=path.parent)
    need = Need(repository, VOCABULARIES, tokenizer_size(repository), root)
    others = [Need(repository, (name,), cache=root, optional=True) for name in TOKENIZER_FILES[1:]]
    return replace(source, needs=(*source.needs, need, *others))
