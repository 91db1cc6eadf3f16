"""Two thousand pictures: memory stays where it was after two hundred, and no file stays open."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.endurance import trials
from tests.endurance.trials import SMALL, lines_of, options_of, start_run, wait_for

pytestmark = pytest.mark.endurance
PICTURES, EARLY = 2000, 200


class Sample(NamedTuple):
    """What a process holds at one moment."""

    pictures: int
    resident: float
    """MiB."""
    files: int


def _samples(run: subprocess.Popen[str], records: Path) -> Iterator[Sample]:
    """Samples ten times a second until the process ends; a picture counts from its first record on."""
    pictures: set[str] = set()
    with records.open() as lines:
        while run.poll() is None:
            for line in iter(lines.readline, ""):
                record = json.loads(line)
                if "key" in record:
                    pictures.add(record.get("picture", record["key"]))
            try:
                status = Path(f"/proc/{run.pid}/status").read_text()
                files = len(os.listdir(f"/proc/{run.pid}/fd"))
            except OSError:
                return
            resident = re.search(r"VmRSS:\s+(\d+) kB", status)
            if resident is not None:  # else it is ending
                yield Sample(len(pictures), int(resident[1]) / 1024, files)
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("name", "more"),
    [("semantic", []), ("referring", ["--datasets", "refcoco_val", "refcoco_testa", "refcoco_testb"])],
)
def test_memory_and_open_files(name: str, more: list[str], tmp_path: Path, figure: Callable[[str], None]) -> None:
    trials.render(tmp_path / "data", name, PICTURES)
    work = tmp_path / "work"
    start = time.monotonic()
    command = [sys.executable, *options_of(name, tmp_path / "data", work), *SMALL, *more]
    run = start_run(command, stdout=subprocess.DEVNULL, stderr=None)
    assert wait_for(lambda: lines_of(work) > 1, run)
    samples = list(_samples(run, work / "records.rank0.jsonl"))
    assert run.returncode == 0
    early, last = (next(sample for sample in samples if sample.pictures >= count) for count in (EARLY, PICTURES))
    assert early.pictures < EARLY + 20
    open_files = {sample.files for sample in samples if EARLY <= sample.pictures < PICTURES}
    figure(
        f"{name}: {PICTURES} pictures in {time.monotonic() - start:.0f} s, {early.resident:.0f} MiB after picture "
        f"{early.pictures}, {last.resident:.0f} MiB after picture {last.pictures} "
        f"({last.resident / early.resident - 1:+.1%}), open files {sorted(open_files)}"
    )
    assert last.resident < 1.05 * early.resident
    assert max(open_files) - min(open_files) <= 1  # a picture may just be read
