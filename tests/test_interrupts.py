"""Ctrl-C: one line and status 130, from the first import of a script to its last picture."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("ctrl_c_heard")
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
IN_MAIN = """
import contextlib, signal, sys
from textregion import cli, interrupts
interrupts.end_at_once()
def main():
    try:
        print("ready", flush=True)
        signal.pause()
    finally:
        print("cleared away")
cli.run(main, interrupted="begin again.")
"""
IGNORED = """
import signal
from textregion import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.end_at_once()
interrupts.raise_again()
signal.raise_signal(signal.SIGINT)
print("went on")
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_while_a_script_is_importing(script: str) -> None:
    command = [sys.executable, "-X", "importtime", script]  # every finished import is a line on stderr
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        before = any("textregion.interrupts" in line for line in iter(process.stderr.readline, ""))
        process.stderr.readline()  # the next import has begun, so what stands between them has run
        process.send_signal(signal.SIGINT)
        words = [line for line in process.stderr if not line.startswith("import time:") and line.strip()]
    assert before
    remedy = "nothing was written yet." if script == "TextRegionSegmenter.py" else "the same command goes on from here."
    assert words == [f"interrupted: {remedy}\n"]
    assert process.returncode == 130


def test_while_a_script_is_at_work() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IN_MAIN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "cleared away\n", "\ninterrupted: begin again.\n")


def test_who_ignores_interruptions_goes_on_doing_so() -> None:
    """As a shell without job control asks of what it starts in the background."""
    done = subprocess.run([sys.executable, "-c", IGNORED], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "went on\n")
