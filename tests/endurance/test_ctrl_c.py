"""Ctrl-C ends a run within two seconds, wherever it is, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.endurance.trials import LARGE, Evaluation, finish, lines_of, processor_time, start_run, wait_for

pytestmark = pytest.mark.endurance
BOUND = 2.0


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so would all that is started from there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt(run: subprocess.Popen[str]) -> tuple[float, str]:
    """Ctrl-C as a terminal sends it: seconds until everything has ended, and what was said."""
    start = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate()
    return time.monotonic() - start, errors


def _show(evaluation: Evaluation, seconds: dict[str, float], figure: Callable[[str], None]) -> None:
    shown = ", ".join(f"{moment} {value:.2f}" for moment, value in seconds.items())
    figure(f"{evaluation.name}: seconds from SIGINT to the end: {shown}")


def test_ends_within_two_seconds(evaluation: Evaluation, tmp_path: Path, figure: Callable[[str], None]) -> None:
    seconds: dict[str, float] = {}

    def end(run: subprocess.Popen[str], moment: str) -> None:
        seconds[moment], errors = _interrupt(run)
        assert (run.returncode, errors) == (130, "\ninterrupted: the same command goes on from here.\n"), moment

    for part in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95):
        run = start_run(evaluation.command(tmp_path / "small"), start_new_session=True)
        spent = part * evaluation.start_up
        assert wait_for(lambda run=run, spent=spent: processor_time(run) >= spent, run)  # type: ignore[misc]
        end(run, f"{part:.0%} of start-up")
    for moment, more in (("next record", 1), ("later record", len(evaluation.keys) // 2)):
        wanted = max(lines_of(tmp_path / "small"), 1) + more
        run = start_run(evaluation.command(tmp_path / "small"), start_new_session=True)
        assert wait_for(lambda wanted=wanted: lines_of(tmp_path / "small") >= wanted, run)  # type: ignore[misc]
        end(run, moment)
    for delay in (0.0, 0.5, 1.0):
        folder = tmp_path / f"large {delay}"
        run = start_run(evaluation.command(folder, *LARGE), start_new_session=True)
        assert wait_for(lambda folder=folder: lines_of(folder) >= 1, run)  # type: ignore[misc]
        time.sleep(delay)
        end(run, f"{delay} s into a large picture")
    _show(evaluation, seconds, figure)
    assert finish(evaluation.command(tmp_path / "small")).returncode == 0
    evaluation.check(tmp_path / "small")
    assert max(seconds.values()) < BOUND, seconds


def test_two_processes_end_as_soon(evaluation: Evaluation, tmp_path: Path, figure: Callable[[str], None]) -> None:
    run = start_run(evaluation.command(tmp_path, processes=2), start_new_session=True)
    assert wait_for(lambda: lines_of(tmp_path) >= 4, run)
    seconds, errors = _interrupt(run)
    assert run.returncode != 0
    assert "interrupted: the same command goes on from here." in errors
    _show(evaluation, {"two processes": seconds}, figure)
    assert finish(evaluation.command(tmp_path)).returncode == 0
    evaluation.check(tmp_path)
    assert seconds < BOUND
