"""The three evaluations on small rendered scenes, as commands to start, interrupt and compare."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
SMALL = ["--device", "cpu", "--points_per_side", "5", "--scale", "128", "96"]
LARGE = ["--device", "cpu", "--points_per_side", "32", "--scale", "1024", "768"]
"""Seconds a picture instead of a tenth of one."""
NAMES = ("semantic", "referring", "reasoning")
_FORMATS = {"semantic": "voc", "referring": "refcoco", "reasoning": "reason_seg"}


def render(data: Path, name: str, count: int) -> None:
    """The scenes of one evaluation, of 80 x 112 pixels."""
    folder = data / "scenes" if name == "semantic" else data
    size = ["--size", "80", "112"]
    command = [sys.executable, "-m", "miniatures.scenes", "--format", _FORMATS[name], "--count", str(count), *size]
    subprocess.run([*command, os.fspath(folder)], cwd=ROOT, check=True, capture_output=True)


def options_of(name: str, data: Path, folder: Path) -> list[str]:
    """Script and options of an evaluation of rendered scenes, with ``folder`` for records and results."""
    if name == "semantic":
        script = ["eval_semantic.py", "--config", "configs/cfg_ds/cfg_scenes.py", "--data-root", data]
        script += ["--work-dir", folder]
    elif name == "referring":
        script = ["eval_referring.py", "--input_file_root", data / "reclip_data", "--image_root", data / "train2014"]
        script += ["--datasets", "refcoco_val", "--log_dir", folder]
    else:
        script = ["eval_reason_seg.py", "--dataset_dir", data, "--log_dir", folder]
    return [str(part) for part in script]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, and what it gives when nobody interrupts it."""

    name: str
    data: Path
    results: bytes
    """See :func:`stable_results`."""
    keys: frozenset[str]
    start_up: float
    """Processor time until the first record, in seconds."""

    def command(self, folder: Path, *more: str, processes: int = 1) -> list[str]:
        """The command at its small size; of several processes through torchrun."""
        launched = TORCHRUN + ["--nproc-per-node", str(processes)] if processes > 1 else [sys.executable]
        joined = ["--launcher", "pytorch"] if processes > 1 else []
        return [*launched, *options_of(self.name, self.data, folder), *SMALL, *joined, *more]

    def check(self, folder: Path) -> None:
        """Every record once, and the results of the run that nobody interrupted."""
        keys = recorded_keys(folder)
        assert len(keys) == len(set(keys)), "a record is doubled"
        assert set(keys) == self.keys
        assert stable_results(folder) == self.results


def measure(name: str, data: Path, folder: Path) -> Evaluation:
    """Run an evaluation undisturbed."""
    run = start_run([sys.executable, *options_of(name, data, folder), *SMALL])
    wait_for(lambda: lines_of(folder) > 1, run)
    start_up = processor_time(run)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    return Evaluation(name, data, stable_results(folder), frozenset(recorded_keys(folder)), start_up)


def start_run(command: list[str], **settings: Any) -> subprocess.Popen[str]:
    """Start a command in the checkout, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **{**pipes, **settings})


def finish(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    run = start_run(command)
    out, err = run.communicate()
    return subprocess.CompletedProcess(command, run.returncode, out, err)


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[str], seconds: float = 300) -> bool:
    """Wait until something is so, or the run has ended; whether it is so."""
    end = time.monotonic() + seconds
    while not condition():
        if run.poll() is not None:
            return condition()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)
    return True


def processor_time(run: subprocess.Popen[str]) -> float:
    """Seconds of processor time so far: how far a run has come, whatever else the machine does."""
    spent = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def lines_of(folder: Path) -> int:
    """Whole lines of the record files, with one line of settings each."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("records.rank*.jsonl"))


def recorded_keys(folder: Path) -> list[str]:
    """The keys of all record files, in which every line must be whole."""
    lines = [line for path in folder.glob("records.rank*.jsonl") for line in path.read_text().splitlines()[1:]]
    return [json.loads(line)["key"] for line in lines]


def stable_results(folder: Path) -> bytes:
    """The bytes of results.json but for its end, the timing, and the checkout's revision."""
    written = (folder / "results.json").read_bytes()
    kept = written[: written.index(b'\n  "timing": ')]
    return re.sub(rb'\n  "revision": [^\n]*', b"", kept)
