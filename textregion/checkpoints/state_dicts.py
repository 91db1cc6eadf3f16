"""The weights among all that a trainer saves, by the names that the model itself gives them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)

_OWN = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
_AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "ema")
_NOT_WEIGHTS = ("optim", "sched", "scaler", "rng", "loss")
_INSERTED = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch.compile and PyTorch's wrappers put wherever the part stands that they took."""
_TOWERS = ("visual", "vision_model", "vision_encoder", "image_encoder", "trunk", "text", "text_model", "transformer")
"""Names of parts of a model: where all weights begin so, the file holds that part, and nothing is wrapped."""
_DEEPEST = 3
OPENAI_METADATA = {"input_resolution", "context_length", "vocab_size"}
"""What OpenAI's own models keep among their weights: numbers, or tensors of one."""


def find_weights(content: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict in what a file holds, and the plain values that lie among its tensors.

    A trainer keeps it under one of several names, beside the optimiser's state; the model's own weights are taken
    before an average (EMA) of them. What wraps a model (DataParallel, torch.compile, Lightning ...) leaves a prefix
    on every name, which goes.

    Returns:
        No tensors where there is none.
    """
    found = sorted(_candidates(content), key=_rank)
    if not found:
        return {}, {}
    path, best = found[0]
    if any(_is_averaged(other) for other, _ in found[1:]) and not _is_averaged(path):
        logger.info("The file holds averaged (EMA) weights too; the model's own are taken.")
    tensors = {name: value for name, value in best.items() if isinstance(value, Tensor)}
    numbers: dict[str, Any] = {name: value for name, value in best.items() if isinstance(value, (int, float, str))}
    weights = unwrapped(tensors)
    for name in OPENAI_METADATA & weights.keys():
        numbers[name] = weights.pop(name).tolist()
    return weights, numbers


def _candidates(content: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if not isinstance(content, Mapping):
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    if any(isinstance(value, Tensor) for value in named.values()):
        yield path, named
    if len(path) < _DEEPEST:
        for key, value in named.items():
            if not any(word in key.lower() for word in _NOT_WEIGHTS):
                yield from _candidates(value, (*path, key))


def _is_averaged(path: tuple[str, ...]) -> bool:
    return any(key in _AVERAGED for key in path)


def _rank(candidate: tuple[tuple[str, ...], Mapping[str, Any]]) -> tuple[bool, int, int]:
    """The least is the model: not averaged, under a usual name, and of the most tensors."""
    path, named = candidate
    known = [_OWN.index(key) if key in _OWN else len(_OWN) for key in path] or [len(_OWN)]
    return _is_averaged(path), min(known), -sum(isinstance(value, Tensor) for value in named.values())


def unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without what wrappers put before or into their names."""
    plain = {".".join(part for part in name.split(".") if part not in _INSERTED): t for name, t in tensors.items()}
    # An averaged model of PyTorch counts beside it.
    counters = {name for name in plain if name == "n_averaged"} if len(plain) > 1 else set()
    plain = {name: tensor for name, tensor in plain.items() if name not in counters}
    firsts = {name.partition(".")[0] for name in plain}
    while len(firsts) == 1 and not firsts & set(_TOWERS) and all("." in name for name in plain):
        plain = {name.partition(".")[2]: tensor for name, tensor in plain.items()}
        firsts = {name.partition(".")[0] for name in plain}
    return plain
