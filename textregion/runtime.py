"""Device and precision: the only place that asks, and it says why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import torch

from .errors import UserError

DtypeName = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """Precision of the frozen models' passes: weights stay float32; ``bf16`` runs them under autocast."""

    dtype: DtypeName = "fp32"

    def __post_init__(self) -> None:
        if self.dtype not in ("fp32", "bf16"):
            raise UserError(f"Unknown dtype {self.dtype!r}: choose fp32 or bf16.")

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the models run on a device."""
        if self.dtype == "fp32":
            return contextlib.nullcontext()
        # A pass uses each weight once, so keeping their copies would only take memory.
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def resolve_device(name: str | torch.device | None = None) -> tuple[torch.device, str]:
    """The device to run on and the reason for it.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None or ``auto`` takes the best that is there.

    Raises:
        UserError: an unknown device, or one that this machine does not have.
    """
    if name is None or name == "auto":
        return _best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"Unknown device {name!r}: choose cpu, cuda, cuda:N or mps.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(f"Device {name!r} is not there: PyTorch sees {count} GPUs; use --device cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("Device 'mps' is not there: PyTorch sees no Apple GPU; use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"Device {name!r} is not supported: choose cpu, cuda, cuda:N or mps.")
    return device, "asked for"


def _best_device() -> tuple[torch.device, str]:
    if torch.cuda.is_available():
        return torch.device("cuda"), "a GPU is there"
    if torch.backends.mps.is_available():
        return torch.device("mps"), "an Apple GPU is there"
    return torch.device("cpu"), "no GPU is there"


@dataclass
class StageClock:
    """Seconds spent in each stage, summed over pictures; hand one to a segmenter to have its stages timed."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time of the block to ``name``; waits for a GPU's queue before and after."""
        _synchronize(device)
        start = time.perf_counter()
        try:
            yield
        finally:
            _synchronize(device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it tells that memory ran out: on a GPU PyTorch has an error of its own for it, on a CPU only the words
    tell, as OpenCV's do."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate" in str(error)
