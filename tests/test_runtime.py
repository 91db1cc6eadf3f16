"""Which device is taken, what precision does, what the clock counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from textregion import UserError
from textregion.runtime import Precision, StageClock, is_out_of_memory, resolve_device


def have(monkeypatch: pytest.MonkeyPatch, gpus: int, apple: bool) -> None:
    """A machine with that many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)


@pytest.mark.parametrize(
    ("gpus", "apple", "expected", "reason"),
    [
        (2, True, "cuda", "a GPU is there"),
        (0, True, "mps", "an Apple GPU is there"),
        (0, False, "cpu", "no GPU is there"),
    ],
)
@pytest.mark.parametrize("name", [None, "auto"])
def test_the_best_device_is_taken(
    name: str | None, gpus: int, apple: bool, expected: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, gpus, apple)
    assert resolve_device(name) == (torch.device(expected), reason)


def test_a_device_by_name_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, 2, False)
    for name in ("cuda", "cuda:0", "cuda:1"):
        assert resolve_device(name) == (torch.device(name), "asked for")
    with pytest.raises(UserError, match="'cuda:2' is not there: PyTorch sees 2 GPUs"):
        resolve_device("cuda:2")
    with pytest.raises(UserError, match="no Apple GPU"):
        resolve_device("mps")
    have(monkeypatch, 0, True)
    assert resolve_device("mps")[0].type == "mps"
    with pytest.raises(UserError, match="'cuda' is not there: PyTorch sees 0 GPUs"):
        resolve_device("cuda")


def test_bf16_is_autocast_that_keeps_no_copies_and_fp32_is_nothing() -> None:
    device = torch.device("cpu")
    with Precision("bf16").autocast(device):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert not torch.is_autocast_cache_enabled()
    with torch.autocast("cpu", dtype=torch.float16), Precision().autocast(device):
        assert torch.get_autocast_dtype("cpu") == torch.float16  # an outer one stays in force
    assert not torch.is_autocast_enabled("cpu")


def test_the_clock_adds_up_and_counts_what_failed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0, 20.0, 25.0, 30.0, 30.5])
    monkeypatch.setattr("textregion.runtime.time.perf_counter", lambda: next(times))
    clock, device = StageClock(), torch.device("cpu")
    with clock.stage("masks", device):
        pass
    with pytest.raises(KeyError), clock.stage("masks", device):
        raise KeyError
    with clock.stage("text", device):
        pass
    assert clock.seconds == {"masks": 7.0, "text": 0.5}


@pytest.mark.parametrize(("kind", "expected"), [("cuda", ["cuda:1"] * 2), ("mps", ["mps"] * 2), ("cpu", [])])
def test_the_clock_waits_for_the_queue_of_its_device(
    kind: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    with StageClock().stage("masks", torch.device(kind, 1) if kind == "cuda" else torch.device(kind)):
        pass
    assert waited == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_too_little_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
