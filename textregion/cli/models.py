"""Which weights a command line means: named, by size, or by what the pictures are; and how a download is announced."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..checkpoints.hub import total_size
from ..errors import UserError
from ..runtime import resolve_device
from ..weights import uses_miniatures
from ..weights.pairs import PAIRS, default_size
from ..weights.sources import fetch_models, find_models

MODEL_NAMES = (
    "clip_architecture",
    "clip_pretrained",
    "clip_download_root",
    "tokenizer",
    "sam2_checkpoint",
    "model_cfg",
)
"""Options that say which weights, as :func:`textregion.weights.load_parts` names them."""
_PAIR = ("clip_architecture", "clip_pretrained", "sam2_checkpoint")
MINIATURE_NOTE = (
    "Using the bundled miniatures, which know rendered scenes only; real models for photographs: "
    "--clip_pretrained openai --sam2_checkpoint facebook/sam2.1-hiera-large, or --models small|base|large|huge"
)


def model_names(args: argparse.Namespace) -> dict[str, Any]:
    """The options that say which weights, by the names that the library has for them."""
    return {name: getattr(args, name) for name in MODEL_NAMES}


def wants_miniatures(args: argparse.Namespace) -> bool:
    """Whether no real model is named."""
    return uses_miniatures(*(getattr(args, name) for name in _PAIR))


def choose_models(args: argparse.Namespace, rendered: bool) -> None:
    """Fill in which models are meant where the command line names none, or a size.

    Args:
        args: of a parser with ``add_model_options``; its names change.
        rendered: whether the pictures are of the miniatures' rendered world.

    Raises:
        UserError: the miniatures and real models at once, an unknown device.
    """
    check_choice(args)
    size = args.models
    if size is None and not args.miniatures and not rendered and wants_miniatures(args):
        size = default_size(resolve_device(args.device)[0])
    if size is None:
        return
    pair = PAIRS[size]
    if args.clip_architecture is None and args.clip_pretrained is None:
        args.clip_architecture, args.clip_pretrained = pair.clip_architecture, pair.clip_pretrained
    args.sam2_checkpoint = args.sam2_checkpoint or pair.sam2_checkpoint


def check_choice(args: argparse.Namespace) -> None:
    """Refuse the miniatures and real models at once.

    Raises:
        UserError: both are asked for.
    """
    if args.miniatures and (args.models is not None or not wants_miniatures(args)):
        raise UserError("--miniatures asks for the bundled miniatures: leave it out, or the real models.")


def announce_and_fetch(args: argparse.Namespace) -> None:
    """Say which models it will be, and download what is missing of them.

    Raises:
        UserError: what is missing cannot be had.
    """
    if wants_miniatures(args):
        _say(MINIATURE_NOTE)
        return
    sources = find_models(**model_names(args))
    fetch_models(sources, announce=lambda needs: _say(f"Downloading {total_size(needs)}: {', '.join(map(str, needs))}"))


def _say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)
