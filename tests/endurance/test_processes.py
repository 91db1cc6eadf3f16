"""One, two and three processes: the same results, also when one of them dies and others take over."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.endurance import trials
from tests.endurance.trials import Evaluation, finish, lines_of, start_run, wait_for

pytestmark = pytest.mark.endurance


def _limited(evaluation: Evaluation, folder: Path, count: int, processes: int) -> bytes:
    """Stable results of the first pictures."""
    done = finish(evaluation.command(folder, "--limit", str(count), processes=processes))
    assert done.returncode == 0, done.stderr
    keys = trials.recorded_keys(folder)
    assert len(set(keys)) == len(keys)
    files = list(folder.glob("records.rank*.jsonl"))
    assert len(files) == processes
    return trials.stable_results(folder)


@pytest.mark.parametrize("count", [2, 7])
def test_any_number_of_processes(
    evaluation: Evaluation, count: int, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Seven pictures are divisible by neither two nor three; two are fewer than three processes."""
    results = [_limited(evaluation, tmp_path / str(number), count, number) for number in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    figure(f"{evaluation.name}: {count} pictures in 1, 2 and 3 processes: the same results")


def _children(process: int) -> list[int]:
    """The processes that torchrun started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _rank(process: int) -> str:
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return next((value[5:] for value in variables if value.startswith("RANK=")), "")


def _run_and_kill(command: list[str], folder: Path, rank: int, lines: int) -> subprocess.CompletedProcess[str]:
    """Kill one process of a run once there are so many lines of records."""
    run = start_run(command)
    assert wait_for(lambda: lines_of(folder) >= lines, run)
    (victim,) = (child for child in _children(run.pid) if _rank(child) == str(rank))
    os.kill(victim, signal.SIGKILL)
    out, err = run.communicate()
    return subprocess.CompletedProcess(command, run.returncode, out, err)


def test_one_process_dies_and_others_take_over(
    evaluation: Evaluation, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    for processes, rank, part in ((3, 1, 0.2), (2, 0, 0.6)):
        wanted = round(part * len(evaluation.keys)) + processes
        died = _run_and_kill(evaluation.command(tmp_path, processes=processes), tmp_path, rank, wanted)
        assert died.returncode == 1
        assert "Another process of this run ended early: the same command, with any number of processes" in died.stderr
        assert not (tmp_path / "results.json").exists()
    done = finish(evaluation.command(tmp_path, processes=3))
    assert done.returncode == 0, done.stderr
    evaluation.check(tmp_path)
    figure(f"{evaluation.name}: rank 1 of 3 and rank 0 of 2 killed, ended by 3 processes: the same results")


def test_a_second_run_of_two_processes_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    first = start_run(evaluation.command(tmp_path))
    try:
        assert wait_for(lambda: lines_of(tmp_path) > 1, first)
        first.send_signal(signal.SIGSTOP)
        second = finish(evaluation.command(tmp_path, processes=2))
    finally:
        first.send_signal(signal.SIGCONT)
    assert f"error: Another run (process {first.pid} on " in second.stderr
    assert second.returncode != 0
    first.communicate()
    assert first.returncode == 0
    evaluation.check(tmp_path)
