"""A second run gives the same bytes, in whatever order the system lists files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.endurance.trials import SMALL, Evaluation, finish, options_of

pytestmark = pytest.mark.endurance

_SHUFFLED = """
import os, random, runpy, sys
draw = random.Random(int(sys.argv.pop(1)))
listdir, scandir = os.listdir, os.scandir

class Shuffled:
    def __init__(self, *given):
        with scandir(*given) as entries:
            self.entries = draw.sample(found := list(entries), len(found))
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.close()
    def __iter__(self):
        return self
    def __next__(self):
        if not self.entries:
            raise StopIteration
        return self.entries.pop()
    def close(self):
        self.entries = []

os.listdir = lambda *given: draw.sample(found := listdir(*given), len(found))
os.scandir = Shuffled
sys.argv.pop(0)
sys.path.insert(0, os.getcwd())
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script in a Python that lists every folder in an order of its own."""


def _records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "records.rank0.jsonl").read_text().splitlines()[1:]
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_files_does_not_matter(evaluation: Evaluation, tmp_path: Path, seed: int) -> None:
    shuffled = [sys.executable, "-c", _SHUFFLED, str(seed), *options_of(evaluation.name, evaluation.data, tmp_path)]
    done = finish([*shuffled, *SMALL])
    assert done.returncode == 0, done.stderr
    evaluation.check(tmp_path)
    assert _records(tmp_path) == _records(evaluation.data.parent / "undisturbed")
