"""A process among those of a run: how it was started, what it waits for, which GPU is its own."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist

from eval.shared import processes
from eval.shared.processes import Processes, check_launcher, start_processes, take_local_rank
from textregion import UserError


@pytest.mark.parametrize(
    ("launcher", "environment", "said"),
    [
        ("none", {}, None),
        ("none", {"RANK": "0", "WORLD_SIZE": "1"}, None),
        ("none", {"RANK": "1", "WORLD_SIZE": "2"}, "add --launcher pytorch"),
        ("none", {"WORLD_SIZE": "2"}, None),
        ("pytorch", {"RANK": "1", "WORLD_SIZE": "2"}, None),
        ("pytorch", {"RANK": "0"}, "needs torchrun"),
        ("pytorch", {"WORLD_SIZE": "2"}, "needs torchrun"),
        ("pytorch", {}, "needs torchrun"),
    ],
)
def test_the_launcher_is_the_one_that_started_us(
    launcher: str, environment: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if said is None:
        check_launcher(launcher)
    else:
        with pytest.raises(UserError, match=said):
            check_launcher(launcher)


def test_the_local_rank_of_the_command_line_stands_in_for_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"LOCAL_RANK": "3"})
    take_local_rank(1)
    assert os.environ["LOCAL_RANK"] == "3"
    del os.environ["LOCAL_RANK"]
    take_local_rank(None)
    assert "LOCAL_RANK" not in os.environ
    take_local_rank(1)
    assert os.environ["LOCAL_RANK"] == "1"


@pytest.mark.parametrize("flag", ["--local_rank=1", "--local-rank=1"])
def test_every_evaluation_takes_the_flag_of_the_distributed_launcher(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {
        "eval_semantic": ["--config", "a.py"],
        "eval_referring": ["--input_file_root", "a", "--image_root", "b"],
        "eval_reason_seg": ["--dataset_dir", "a"],
    }
    for name, line in lines.items():
        monkeypatch.setattr(sys, "argv", [f"{name}.py", flag, *line, "--launcher", "pytorch"])
        script = importlib.import_module(name)
        args = script.parse_args() if name == "eval_semantic" else script._parse()
        assert (args.local_rank, args.launcher) == (1, "pytorch")
    monkeypatch.setattr(sys, "argv", ["eval_all_semantic.py", flag, "--datasets", "voc21"])
    args, shared = importlib.import_module("eval_all_semantic").parse_args()
    assert args.local_rank == 1 and [part.replace("-", "_") for part in shared] == ["__local_rank=1"]


@pytest.mark.parametrize(
    ("name", "count", "gpus", "local_rank", "expected"),
    [
        (None, 2, 4, "3", "cuda:3"),
        ("auto", 8, 4, "5", "cuda:1"),
        ("cuda", 2, 4, None, "cuda:1"),
        ("cuda", 1, 4, "0", "cuda"),
        ("cuda:2", 2, 4, "1", "cuda:2"),
        ("cpu", 2, 4, "1", "cpu"),
        (None, 2, 0, "1", None),
    ],
)
def test_every_process_has_its_own_gpu(
    name: str | None,
    count: int,
    gpus: int,
    local_rank: str | None,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert Processes(rank=1, count=count).device(name) == expected


def test_who_is_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(dist, "barrier", lambda: waited.append(1))
    Processes().barrier()
    assert waited == []
    Processes(1, 2).barrier()
    assert waited == [1]


def test_a_process_that_died_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(dist, "barrier", broken)
    with pytest.raises(UserError, match="Another process of this run ended early"):
        Processes(0, 2).barrier()


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of torch.distributed, which says that this is process 2 of 3."""
    asked: list[Any] = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: asked.append((backend, timeout.days)))
    monkeypatch.setattr(dist, "get_rank", lambda: 2)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: asked.append("destroyed"))
    monkeypatch.setattr(signal, "signal", lambda number, handler: asked.append((number, handler)))
    return asked


def test_processes_join_and_part(joined: list[Any]) -> None:
    with start_processes("none") as alone:
        assert (alone.rank, alone.count, joined) == (0, 1, [])
    with pytest.raises(KeyError), start_processes("pytorch") as mine:
        assert (mine.rank, mine.count) == (2, 3)
        raise KeyError  # they part however the run ends
    # gloo works on machines with and without GPUs; a slow process is waited for, not given up
    assert joined == [(signal.SIGTERM, processes._stop), ("gloo", 14), "destroyed"]


@pytest.mark.parametrize("error", [RuntimeError("refused"), ValueError("MASTER_ADDR expected")])
def test_processes_that_cannot_meet_say_so(
    error: Exception, joined: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(backend: str, timeout: Any) -> None:
        raise error

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(UserError, match=str(error)), start_processes("pytorch"):
        pass


def test_ended_by_torchrun_the_words_say_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit) as ended:
        processes._stop(signal.SIGTERM, None)
    assert ended.value.code == 143
    assert capsys.readouterr().err.startswith("stopped: Another process of this run ended early")
