"""A process that is killed at any step loses nothing that was there, and tears and doubles nothing."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.index.conftest import StubSegmenter, regions_of
from textregion import RegionIndex
from textregion.index import growing
from textregion.index.growing import FAILED
from textregion.index.rows import PictureRows
from textregion.index.store import Store

KILLED, DONE, BROKEN = "killed", "done", "broken"


def in_a_child(work: Callable[[], None], kill_before: int | None = None) -> str:
    """Run something in a process of its own, which is killed before its n-th change of the disk."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # a child has none of its parent's threads, and would wait for them
        try:
            if kill_before is not None:
                _kill_before_change(kill_before)
            work()
        except BaseException:  # nothing of pytest may run twice
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return KILLED
    return DONE if status == 0 else BROKEN


def _kill_before_change(number: int) -> None:
    left = [number]

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **settings: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **settings)

        return run

    for owner, name in ((os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "touch")):
        setattr(owner, name, counted(getattr(owner, name)))


def held(folder: Path) -> dict[str, list[list[float]]]:
    """Tokens of every picture of an index that somebody else opens now."""
    index = RegionIndex.open(folder)
    found = {path: [hit.token.tolist() for hit in index.regions(path)] for path in index.pictures}
    assert index.region_count == sum(map(len, found.values()))
    return found


def tokens(content: bytes) -> list[list[float]]:
    rows: list[list[float]] = regions_of(content, "stub").tokens.half().float().tolist()
    return rows


def write(path: Path, content: bytes, age: int) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(age, age))


def test_killed_before_every_change_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding, replacing, deleting, failing and compacting, killed at each step in turn."""
    monkeypatch.setattr(growing, "BATCH", 2)
    folder, photos = tmp_path / "index", tmp_path / "photos"
    photos.mkdir()
    before = {f"{number}.png": b"first %d" % number for number in range(5)}
    for number in range(1, 200):
        for path in photos.iterdir():
            path.unlink()
        for name, content in before.items():
            write(photos / name, content, number * 10)
        segmenter = StubSegmenter()
        index = RegionIndex.open(folder, segmenter) if folder.exists() else RegionIndex.create(folder, segmenter)
        index.add(photos)
        start = held(folder)
        assert start == {str(photos / name): tokens(content) for name, content in before.items()}

        changed = {"1.png": b"second", "2.png": b"bad now", "new.png": b"new %d" % number, "more.png": b"more"}
        for name, content in changed.items():
            write(photos / name, content, number * 10 + 5)
        (photos / "0.png").unlink()
        (photos / "3.png").rename(photos / "moved.png")
        after = {**before, **changed, "moved.png": before["3.png"]}
        end = {str(photos / name): tokens(after[name]) for name in after if name not in ("0.png", "2.png", "3.png")}
        said_read, said_write = os.pipe()

        def work() -> None:
            opened = RegionIndex.open(folder, StubSegmenter())
            opened.add(photos)
            os.write(said_write, b"added")  # noqa: B023 (the process is of this round)
            opened.compact()

        outcome = in_a_child(work, kill_before=number)
        os.close(said_write)
        said = os.read(said_read, 5)
        os.close(said_read)
        assert outcome != BROKEN
        now = held(folder)
        if said or outcome == DONE:
            assert now == end
        for path, rows in now.items():
            assert rows in (start.get(path), end.get(path))
        assert set(start) & set(end) <= set(now)
        index = RegionIndex.open(folder, segmenter)
        index.add(photos)
        assert held(folder) == end
        assert (folder / FAILED).read_text().count("2.png") >= 1
        if outcome == DONE:
            assert number > 30
            return
    pytest.fail("it never came to an end")


def test_two_writers_do_not_bury_each_others_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have written the same picture before either looks at what the other did."""
    folder, photos = tmp_path / "index", tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        write(photos / name, name.encode(), 5)
    RegionIndex.create(folder, StubSegmenter())
    both, add = threading.Barrier(2, timeout=60), Store.add

    def add_and_wait(store: Store, pictures: list[PictureRows]) -> str:
        name = add(store, pictures)
        both.wait()
        return name

    monkeypatch.setattr(Store, "add", add_and_wait)
    named = ([photos / "a.png", photos / "b.png"], [photos / "a.png"])
    with ThreadPoolExecutor(2) as writers:
        list(writers.map(lambda paths: RegionIndex.open(folder, StubSegmenter()).add(paths), named))
    assert held(folder) == {str(photos / name): tokens(name.encode()) for name in ("a.png", "b.png")}


def test_three_writers_and_two_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "BATCH", 3)
    folder, photos = tmp_path / "index", tmp_path / "photos"
    (photos / "shared").mkdir(parents=True)
    for number in range(12):
        write(photos / f"shared/{number}.png", b"shared %d" % number, 5)
    for writer in range(3):
        (photos / f"own{writer}").mkdir()
        for number in range(6):
            write(photos / f"own{writer}/{number}.png", b"%d of %d" % (number, writer), 5)
    RegionIndex.create(folder, StubSegmenter())
    content = {str(path): path.read_bytes() for path in photos.rglob("*.png")}
    finished = tmp_path / "finished"

    def write_some(writer: int) -> None:
        index = RegionIndex.open(folder, StubSegmenter())
        index.add([photos / f"own{writer}", photos / "shared"])
        index.tidy()

    def read_all_the_time() -> None:
        seen: set[str] = set()
        while not finished.exists():
            index = RegionIndex.open(folder, StubSegmenter())
            for hit in index.search("dog", k=99):
                assert hit.token.tolist() in tokens(content[hit.picture])
            assert seen <= set(index.pictures)
            seen = set(index.pictures)

    children = []
    for work in (*(lambda w=w: write_some(w) for w in range(3)), read_all_the_time, read_all_the_time):
        child = os.fork()
        if child == 0:
            os._exit({DONE: 0}.get(in_a_child(work), 1))
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children[:3]]
    finished.touch()
    ends += [os.waitpid(child, 0)[1] for child in children[3:]]
    assert ends == [0] * 5
    assert held(folder) == {path: tokens(bytes_) for path, bytes_ in content.items()}
    index = RegionIndex.open(folder, StubSegmenter())
    index.compact()
    assert held(folder) == {path: tokens(bytes_) for path, bytes_ in content.items()}
    assert len(list((folder / "parts").iterdir())) == 1
