"""SAM 2 by a file, a folder or a hub id: its config, read without trusting it, its weights, the model."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch import nn

from ..checkpoints.hub import Need, fetch
from ..checkpoints.naming import naming_of, what_is_wrong
from ..checkpoints.reading import read_checkpoint
from ..checkpoints.sam2_names import from_transformers
from ..encoders.folders import TRANSFORMERS_WEIGHTS, snapshot
from ..errors import UserError, reason_of
from ..runtime import resolve_device

DEFAULT_SAM2 = "facebook/sam2.1-hiera-large"
_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
_BYTES = {"t": 156_000_000, "s": 184_000_000, "b+": 324_000_000, "l": 898_000_000}
"""About how large the published files are."""
_NAME = re.compile(r"sam2(?P<minor>\.1)?[-_]hiera[-_](?P<size>tiny|small|base[-_]plus|large)")


@dataclass(frozen=True)
class Sam2Source:
    """SAM 2 weights: what is known of them before they are loaded."""

    name: str
    config: Path
    weights: Path | None
    """Their file; None: it is among ``needs``."""
    needs: tuple[Need, ...] = ()


def find_sam2(checkpoint: str | os.PathLike[str] | None, model_cfg: str | os.PathLike[str] | None) -> Sam2Source:
    """The weights that are meant, facebook/sam2.1-hiera-large where none are named; asks no network.

    Args:
        checkpoint: a file, a folder with one, or a hub id.
        model_cfg: a YAML file or a name inside the sam2 package; None: by the checkpoint's name.

    Raises:
        UserError: neither a file nor a known hub id, or a config that is unknown or cannot be told from the name.
    """
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    name = DEFAULT_SAM2 if checkpoint is None else os.fspath(checkpoint)
    if os.path.isdir(name):
        path = _in_folder(snapshot(Path(name)))
        return Sam2Source(name, _sam2_config(path, model_cfg), path)
    if os.path.exists(name):
        return Sam2Source(name, _sam2_config(Path(name), model_cfg), Path(name))
    name = name.removeprefix("hf-hub:")
    if name not in HF_MODEL_ID_TO_FILENAMES:
        known = ", ".join(HF_MODEL_ID_TO_FILENAMES)
        raise UserError(f"SAM 2 checkpoint {name!r} is neither a file nor a hub id: use a file, or one of {known}.")
    config = _sam2_config(Path(name), model_cfg)
    size = _BYTES[config.stem.rpartition("_")[2]]
    need = Need(name, (HF_MODEL_ID_TO_FILENAMES[name][1], TRANSFORMERS_WEIGHTS[0]), size)
    return Sam2Source(name, config, need.path, () if need.path else (need,))


def tells_its_size(name: str) -> bool:
    """Whether the config follows from a file's or repository's name."""
    return _NAME.search(name) is not None


def published_name(config: Path) -> str:
    """The name, without suffix, of the published file that a config of the package belongs to."""
    version, _, short = config.stem.rpartition("_")
    sizes = {shorter: size for size, shorter in _SIZES.items()}
    return f"{version}_{sizes[short]}"


def _in_folder(folder: Path) -> Path:
    """SAM 2's file in a folder, Meta's before transformers'."""
    found = sorted(path for path in folder.iterdir() if path.suffix in (".pt", ".pth", ".safetensors", ".bin"))
    named = [path for path in found if tells_its_size(path.name)] or found
    if len(named) != 1:
        holds = "no weights" if not named else f"several files of weights ({', '.join(path.name for path in named)})"
        raise UserError(f"Folder {os.fspath(folder)!r} holds {holds} of SAM 2: give the file.")
    return named[0]


def load_sam2(
    checkpoint: str | os.PathLike[str],
    model_cfg: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """A frozen SAM 2 or 2.1 model, built without postprocessing.

    Args:
        checkpoint: a ``.pt`` or ``.safetensors`` file, also in transformers' naming, a folder with one, or a hub id
            such as ``facebook/sam2.1-hiera-large``.
        model_cfg: a YAML file or a name inside the sam2 package; None: by the checkpoint's name.
        device: where to run; None: the best there is.

    Raises:
        UserError: a checkpoint that cannot be had or does not fit, or a config that is wrong.
    """
    where, _ = resolve_device(device)
    source = find_sam2(checkpoint, model_cfg)
    if source.needs:
        fetch(source.needs)
        source = find_sam2(checkpoint, model_cfg)
    assert source.weights is not None  # what was missing was fetched
    model = build_sam2(source.config)
    tensors = read_checkpoint(source.weights).tensors
    wrong = what_is_wrong(tensors, "SAM 2")
    if wrong is not None:
        raise UserError(f"SAM 2 checkpoint {source.name!r} {wrong}.")
    try:
        if naming_of(tensors) == "transformers SAM 2":
            tensors = from_transformers(tensors, model)
        model.load_state_dict(tensors)
    except (RuntimeError, LookupError) as error:
        raise UserError(
            f"SAM 2 checkpoint {source.name!r} does not fit the config {source.config.name} ({reason_of(error)}): "
            "name its own with --model_cfg."
        ) from None
    return model.to(where).eval().requires_grad_(False)


def _sam2_config(checkpoint: Path, model_cfg: str | os.PathLike[str] | None) -> Path:
    package = Path(sam2.__file__).parent
    if model_cfg is not None:
        for path in (Path(model_cfg), package / model_cfg, package / "configs" / model_cfg):
            if path.is_file():
                return path
        raise UserError(f"SAM 2 config {os.fspath(model_cfg)!r} is neither a file nor a name inside the sam2 package.")
    absolute = Path(os.path.abspath(checkpoint))
    # In the hub's cache, the repository's name stands three folders above.
    names = [checkpoint.name, *(folder.name for folder in list(absolute.parents)[:3])]
    match = next(filter(None, map(_NAME.search, names)), None)
    if match is None:
        raise UserError(
            f"The name of SAM 2 checkpoint {os.fspath(checkpoint)!r} does not tell its size: name its config with "
            "--model_cfg, for instance configs/sam2.1/sam2.1_hiera_l.yaml."
        )
    version = "sam2" + (match["minor"] or "")
    return package / "configs" / version / f"{version}_hiera_{_SIZES[match['size'].replace('-', '_')]}.yaml"


def build_sam2(config: Path) -> nn.Module:
    """The model that a config of SAM 2 describes, without weights; it may name modules of ``sam2.modeling`` only.

    Raises:
        UserError: a config that cannot be read, names anything else, or describes no SAM 2.
    """
    name = f"SAM 2 config {os.fspath(config)!r}"
    try:
        # OmegaConf's loader is YAML's safe one, and reads 1e-6 as a number, which YAML 1.1 does not.
        settings: Any = OmegaConf.to_container(OmegaConf.load(config))
    except Exception as error:  # YAML's constructors raise errors of any kind on a value that its tag does not fit
        raise UserError(f"{name} cannot be read ({reason_of(error)}): give another with --model_cfg.") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), dict):
        raise UserError(f"{name} has no 'model' section: give one of the sam2 package's form.")
    _refuse_what_runs(settings["model"], name)
    try:
        model = instantiate(settings["model"], _recursive_=True)
    except Exception as error:  # a module's own code raises errors of any kind on arguments that do not fit
        raise UserError(f"{name} describes no model ({reason_of(error)}): give another with --model_cfg.") from None
    if not isinstance(model, SAM2Base):
        raise UserError(f"{name} describes no SAM 2 but {type(model).__name__}: give another with --model_cfg.")
    return model


def _refuse_what_runs(node: object, name: str) -> None:
    """Refuse what would run, read or import anything but the modules of a SAM 2 model.

    Raises:
        UserError: a class from elsewhere, an interpolation, or a file of weights.
    """
    if isinstance(node, str) and "${" in node:
        # It could become a section of its own, with a class from anywhere, after this check.
        raise UserError(f"{name} holds the interpolation {node!r}: write the value itself.")
    if isinstance(node, dict):
        if "_target_" in node and not _is_sam2_module(node["_target_"]):
            raise UserError(f"{name} names {node['_target_']!r}: only classes of sam2.modeling may stand there.")
        if node.get("weights_path") is not None:
            # SAM 2 would read them with pickle.
            raise UserError(f"{name} names the weights {node['weights_path']!r}: they come from the checkpoint alone.")
        for key in node:
            if str(key).startswith("_") and key != "_target_":
                raise UserError(f"{name} has the field {key!r}: give a class by '_target_', and its arguments by name.")
        for value in node.values():
            _refuse_what_runs(value, name)
    elif isinstance(node, list):
        for value in node:
            _refuse_what_runs(value, name)


def _is_sam2_module(target: object) -> bool:
    """Whether a name stands for a module that is defined below ``sam2.modeling``, not for what is imported there."""
    source, _, name = str(target).rpartition(".")
    if not source.startswith("sam2.modeling."):
        return False
    try:
        found = getattr(importlib.import_module(source), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == source
