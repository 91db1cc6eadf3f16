"""SIGKILL at twenty random moments in a row, and two runs on one folder."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.endurance.trials import Evaluation, finish, lines_of, processor_time, start_run, wait_for

pytestmark = pytest.mark.endurance
KILLS = 20
IN_START_UP = 5


def _kill(run: subprocess.Popen[str]) -> None:
    """SIGKILL, as the system sends it, and nothing else ended the run before."""
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL, "the run had ended before it was killed"


def test_killed_twenty_times(evaluation: Evaluation, tmp_path: Path, figure: Callable[[str], None]) -> None:
    draw = random.Random(evaluation.name)
    early = set(draw.sample(range(KILLS - 1), IN_START_UP))
    whole = len(evaluation.keys) + 1
    start = time.monotonic()
    for kill in range(KILLS):
        run = start_run(evaluation.command(tmp_path))
        if kill in early:
            spent = draw.uniform(0.05, 0.95) * evaluation.start_up
            assert wait_for(lambda run=run, spent=spent: processor_time(run) >= spent, run)  # type: ignore[misc]
        else:
            there = max(lines_of(tmp_path), 1)
            room = (whole - there) // (KILLS - kill)
            wanted = min(there + draw.randint(1, max(room, 1)), whole) if kill < KILLS - 1 else whole
            assert wait_for(lambda wanted=wanted: lines_of(tmp_path) >= wanted, run)  # type: ignore[misc]
            if wanted < whole - 1:
                time.sleep(draw.uniform(0, 0.05))  # anywhere in the next picture
        _kill(run)
    done = finish(evaluation.command(tmp_path))
    assert done.returncode == 0, done.stderr
    evaluation.check(tmp_path)
    figure(
        f"{evaluation.name}: {KILLS} SIGKILLs in a row ({IN_START_UP} of them in start-up), {whole - 1} records, "
        f"none lost or doubled, same results; {time.monotonic() - start:.0f} s"
    )


def test_a_second_run_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    first = start_run(evaluation.command(tmp_path))
    try:
        assert wait_for(lambda: lines_of(tmp_path) > 1, first)
        first.send_signal(signal.SIGSTOP)  # so that it is not done before the second asks
        second = finish(evaluation.command(tmp_path))
    finally:
        first.send_signal(signal.SIGCONT)
    _, errors = first.communicate()
    assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
    assert second.stderr.startswith(f"error: Another run (process {first.pid} on ")
    assert first.returncode == 0, errors
    evaluation.check(tmp_path)
