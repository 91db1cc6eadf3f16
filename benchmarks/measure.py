"""Seconds and peak memory of parts of a program, and what machine they were measured on."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import torch

T = TypeVar("T")
MIB = 2**20
_SAMPLING_SECONDS = 0.002


@dataclass
class Meter:
    """Time and peak memory of named parts; a part that is met several times in one run adds its times up.

    Memory on a CPU is the process's resident set, sampled by a thread, above what it was when the meter was made; on a
    GPU what PyTorch had allocated at most, above what was allocated then.
    """

    device: torch.device
    clock: Callable[[], float] = time.perf_counter
    """``time.process_time`` counts the processor's seconds: what to take on one thread of a machine that is shared."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _give_back()
        self.base = _memory(self.device)
        self._run: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure the block as ``name``."""
        _wait(self.device)
        with _peak(self.device) as peak:
            start = self.clock()
            yield
            _wait(self.device)
            self._run[name] = self._run.get(name, 0.0) + self.clock() - start
        self.peak_bytes[name] = max(self.peak_bytes.get(name, 0), peak() - self.base)

    def end_run(self, keep: bool = True) -> None:
        """Close one run; a warm-up is not kept."""
        for name, seconds in self._run.items():
            if keep:
                self.seconds.setdefault(name, []).append(seconds)
        self._run = {}

    def medians(self) -> dict[str, float]:
        """Median seconds of every part over the runs."""
        return {name: statistics.median(values) for name, values in self.seconds.items()}

    def peaks_mib(self) -> dict[str, float]:
        """Peak memory of every part above the start, in MiB."""
        return {name: round(peak / MIB, 1) for name, peak in self.peak_bytes.items()}

    @contextmanager
    def watching(self, *parts: tuple[Any, str, str]) -> Iterator[None]:
        """Measure functions while they are called by others: (owner, attribute, name of the part) each."""
        patches = [mock.patch.object(o, attribute, self._timed(getattr(o, attribute), n)) for o, attribute, n in parts]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def _timed(self, function: Callable[..., T], name: str) -> Callable[..., T]:
        def timed(*args: Any, **kwargs: Any) -> T:
            with self.part(name):
                return function(*args, **kwargs)

        return timed


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def median_seconds(
    work: Callable[[], Any],
    device: torch.device,
    repeats: int = 3,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median time of a call."""
    meter = Meter(device, clock)
    for run in range(repeats + warm_up):
        with meter.part("work"):
            work()
        meter.end_run(keep=run >= warm_up)
    return meter.medians()["work"]


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads, GPU and versions."""
    packages = ("torch", "torchvision", "open_clip_torch", "timm", "sam2")
    facts: dict[str, Any] = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "bf16 instructions": _has_bf16(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "python": platform.python_version(),
    }
    return facts | {name: importlib.metadata.version(name) for name in packages}


def write(path: Path, results: dict[str, Any]) -> None:
    """Results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    facts = _cpu_facts()
    return f"{facts.get('model name', platform.processor())}, family {facts.get('cpu family', '?')}"


def _has_bf16() -> list[str]:
    flags = _cpu_facts().get("flags", "").split()
    return [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]


def _cpu_facts() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device) -> int:
    """Bytes in use now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * 4096


def _give_back() -> None:
    """Let the C library return what earlier work has freed, or what comes next would seem to need nothing."""
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def _peak(device: torch.device) -> Iterator[Callable[[], int]]:
    """A function that says the most bytes in use since the block began; ask it at the block's end."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device)
        return
    highest = [_memory(device)]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_SAMPLING_SECONDS):
            highest[0] = max(highest[0], _memory(device))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: max(highest[0], _memory(device))
    finally:
        stop.set()
        watcher.join()
