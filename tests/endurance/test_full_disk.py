"""A full disk, made of a small tmpfs: the file is named, no finished record is lost, and the run goes on later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.endurance.trials import Evaluation, finish, recorded_keys

pytestmark = pytest.mark.endurance
SIZE = 4 << 20
PAGE = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", os.fspath(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", os.fspath(folder)], check=True)


def _leave(disk: Path, pages: int) -> None:
    """Fill the disk so that so many pages stay free."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    ballast.write_bytes(bytes((os.statvfs(disk).f_bavail - pages) * PAGE))
    assert os.statvfs(disk).f_bavail == pages


def _refused(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """The name of the file that one sentence says had no space."""
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ") and "(No space left on device)" in done.stderr, done.stderr
    path = Path(done.stderr.split("'")[1])
    assert path.is_relative_to(folder), done.stderr
    return path.name


def test_goes_on_when_there_is_space(evaluation: Evaluation, small_disk: Path, figure: Callable[[str], None]) -> None:
    work = small_disk / "work"
    names: list[str] = []
    counts: list[int] = []
    while sum(count > 0 for count in counts) < 2:  # twice in the middle of the records
        _leave(small_disk, pages=1 if names else 0)
        names.append(_refused(finish(evaluation.command(work)), work))
        keys = recorded_keys(work)
        assert len(set(keys)) == len(keys) >= (counts[-1] if counts else 0)
        counts.append(len(keys))
    (small_disk / "ballast").unlink()
    assert finish(evaluation.command(work)).returncode == 0
    evaluation.check(work)

    (work / "results.json").unlink()
    _leave(small_disk, 0)
    names.append(_refused(finish(evaluation.command(work)), work))
    assert names[-1] == "results.json"
    assert not [path.name for path in work.iterdir() if path.suffix == ".tmp"]
    (small_disk / "ballast").unlink()
    assert finish(evaluation.command(work)).returncode == 0
    evaluation.check(work)
    figure(f"{evaluation.name}: disk full at {', '.join(names)}; records kept {counts}; same results")


def test_drawings_need_space_too(evaluation: Evaluation, small_disk: Path, tmp_path: Path) -> None:
    _leave(small_disk, 2)
    shown = ["--show-dir", os.fspath(small_disk / "shown")]
    assert _refused(finish(evaluation.command(tmp_path / "work", *shown)), small_disk / "shown").endswith(".png")
    (small_disk / "ballast").unlink()
    assert finish(evaluation.command(tmp_path / "work")).returncode == 0
    evaluation.check(tmp_path / "work")


def test_a_cache_without_space_is_left_out(evaluation: Evaluation, small_disk: Path, tmp_path: Path) -> None:
    if evaluation.name == "semantic":
        pytest.skip("the semantic evaluation has no cache")
    _leave(small_disk, 2)
    done = finish(evaluation.command(tmp_path / "work", "--cache", os.fspath(small_disk / "cache")))
    assert done.returncode == 0
    assert "No space left on device" in done.stderr and "the run goes on without" in done.stderr
    evaluation.check(tmp_path / "work")
