"""Device and precision: the only place that asks, and it says why."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import UserError

logger = logging.getLogger(__name__)

DtypeName = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """Precision of the frozen models' passes: weights stay float32; ``bf16`` runs them under autocast."""

    dtype: DtypeName = "fp32"

    def __post_init__(self) -> None:
        if self.dtype not in ("fp32", "bf16"):
            raise UserError(f"Unknown dtype {self.dtype!r}: choose fp32 or bf16.")

    @contextlib.contextmanager
    def autocast(self, device: torch.device) -> Iterator[None]:
        """The context in which the models run on a device; bf16 where the device has it, else fp32."""
        with contextlib.ExitStack() as context:
            context.enter_context(gaps_filled(device))
            if self.dtype == "bf16" and _has_bf16(device.type):
                # A pass uses each weight once, so keeping their copies would only take memory.
                context.enter_context(torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False))
            yield


@functools.lru_cache
def _has_bf16(device_type: str) -> bool:
    """Whether a kind of device computes in bf16; where it does not, the log says so, once."""
    has = True
    if device_type == "cuda":
        has = torch.cuda.is_bf16_supported()
    elif device_type == "mps":
        has = torch.torch_version.TorchVersion(torch.__version__) >= "2.6" and torch.backends.mps.is_macos_or_newer(
            14, 0
        )
    if not has:
        logger.warning("%s does not compute in bf16 here (macOS 14 and PyTorch 2.6 do): it runs in fp32.", device_type)
    return has


def gaps_filled(device: torch.device) -> AbstractContextManager[object]:
    """The context in which functions that a device lacks are computed on the CPU."""
    return _ResizeOnCpu() if device.type == "mps" else contextlib.nullcontext()


class _ResizeOnCpu(TorchFunctionMode):
    """Bicubic and antialiased resizing came late to Apple's backend, in PyTorch 2.6 and 2.8, and models use it too."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.interpolate and (kwargs.get("antialias") or kwargs.get("mode") == "bicubic"):
            values = args[0]
            return func(values.cpu(), *args[1:], **kwargs).to(values.device)
        return func(*args, **kwargs)


def first_max(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every row (n, K), and the first place that has it: (n,) each.

    Elsewhere than on a CPU and in CUDA it is not said which of several equal ones ``max`` takes.
    """
    if values.device.type in ("cpu", "cuda"):
        most, place = values.max(1)
        return most, place
    most = values.amax(1)
    places = torch.arange(values.shape[1], device=values.device, dtype=torch.float32)
    return most, torch.where(values == most[:, None], places, torch.inf).amin(1).long()


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
