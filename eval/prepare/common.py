"""What the converters share: whole files or none, work that goes on where it stopped, and counts that are checked."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from eval.shared.label_maps import read_label_map
from textregion import UserError
from textregion.files import cannot_write, replacing
from utils.text_files import read_lines, visible

IGNORED = 255
UINT16_IGNORED = 65535
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_TEMPORARY = ".part"
_LOCK = ".prepare.lock"
# A file that cannot be written for one of these reasons stops everything: the next one would not fare better.
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}

Task = Callable[[Any, Path], str | None]
"""Makes a target from a source; a remark worth counting, or None."""


class MissingSource(UserError):
    """A download that is not there: which folder or file, and where it comes from."""


class CannotPrepare(UserError):
    """Nothing can go on: a full disk, a folder that cannot be written to, a second run at the same time."""


@dataclass(frozen=True)
class Split:
    """What became of one split.

    ``expected`` is the count of the full split, ``kept`` counts the labels that were there already, ``failures`` has a
    line for every label that could not be made, ``remarks`` counts what was unusual about those that were.
    """

    name: str
    expected: int
    written: int = 0
    kept: int = 0
    failures: tuple[str, ...] = ()
    remarks: tuple[tuple[str, int], ...] = ()

    @property
    def count(self) -> int:
        return self.written + self.kept


@dataclass(frozen=True)
class Report:
    """What became of one data set, below ``folder``."""

    dataset: str
    folder: Path
    splits: tuple[Split, ...]
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a split, then one for everything that should be looked at."""
        lines = []
        for split in self.splits:
            lines.append(
                f"{self.dataset} {split.name}: {split.count} labels "
                f"({split.written} written, {split.kept} there already) in {self.folder}"
            )
            if split.count != split.expected:
                lines.append(
                    f"  warning: all of {split.name} would be {split.expected} labels, but {split.count} are here"
                )
            lines += [f"  warning: {count} labels: {remark}" for remark, count in split.remarks]
            lines += [f"  failed: {failure}" for failure in split.failures[:5]]
            if len(split.failures) > 5:
                lines.append(f"  failed: {len(split.failures) - 5} more")
        return lines + [f"  warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True)
class Relabelling:
    """A :data:`Task`: a label map, value by value, into an 8-bit one.

    Args:
        labels: source value -> label, for every value that the data set defines.
        other: label of every other value; that there were any is remarked on.
    """

    labels: Mapping[int, int]
    other: int

    def __call__(self, source: Path, target: Path) -> str | None:
        values = read_label_map(source).upright
        if values.min() < 0 or values.max() > UINT16_IGNORED:
            raise ValueError(f"{source} holds {values.min()} to {values.max()}, but labels have at most 16 bits")
        table = np.full(UINT16_IGNORED + 1, self.other, dtype=np.uint8)
        table[list(self.labels)] = list(self.labels.values())
        save_image(table[values], target)
        unknown = sorted(set(np.bincount(values.ravel()).nonzero()[0].tolist()) - self.labels.keys())
        return f"values that the data set does not define became {self.other}: {unknown}" if unknown else None


def save_image(values: np.ndarray, target: Path, **settings: Any) -> None:
    """Write a picture under the format of the target's ending, whole or not at all.

    Args:
        values: (H, W) uint8 or uint16, or (H, W, 3) uint8.
        settings: passed to Pillow.
    """
    with _replacing(target) as temporary:
        Image.fromarray(values).save(temporary, format=Image.registered_extensions()[target.suffix], **settings)


def save_lines(lines: Iterable[str], target: Path) -> None:
    """Write a text file, whole or not at all; every line ends with a newline."""
    with _replacing(target) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A name beside the target to write to, which becomes the target if all went well."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, _TEMPORARY) as temporary:
            yield temporary
    except OSError as error:
        message = cannot_write(target, error)
        raise (CannotPrepare(str(message)) if error.errno in _HOPELESS else message) from None


def is_whole(path: Path) -> bool:
    """Whether a file is there and, for a PNG, has its end: a crash of the machine may leave an empty or cut one."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if path.suffix != ".png":
                return size > 0
            file.seek(max(size - len(_PNG_END), 0))
            return file.read() == _PNG_END
    except (FileNotFoundError, NotADirectoryError):
        return False


def make_all(task: Task, jobs: Sequence[tuple[Any, Path]], split: Split, workers: int, title: str) -> Split:
    """Make every target that is not there yet, with a bar; a job that fails is noted and the others go on.

    Args:
        task: picklable; called with (source, target), and writes with :func:`save_image`.
        jobs: (source, target) pairs; the result does not depend on ``workers``.
        split: its name and expected count.
        workers: processes; 1 = this one.
        title: of the bar.

    Raises:
        CannotPrepare: the disk is full, the folder cannot be written to, or a worker was killed.
    """
    for folder in {target.parent for _, target in jobs}:
        _remove_leftovers(folder)
    outcomes: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    failures = []
    for outcome, text in tqdm(_map(partial(_make, task), jobs, workers), desc=title, total=len(jobs), unit="label"):
        outcomes[outcome] += 1
        if outcome == "failed":
            failures.append(text)
        elif text:
            remarks[text] += 1
    return replace(
        split,
        written=outcomes["written"],
        kept=outcomes["kept"],
        failures=tuple(failures),
        remarks=tuple(sorted(remarks.items())),
    )


def _make(task: Task, job: tuple[Any, Path]) -> tuple[str, str]:
    source, target = job
    try:
        if is_whole(target):
            return "kept", ""
        return "written", task(source, target) or ""
    except CannotPrepare:
        raise
    # Decoders of broken files raise whatever they like: SyntaxError, zlib.error, TypeError and more.
    except Exception as error:
        reason = error if isinstance(error, (OSError, ValueError)) else repr(error)
        return "failed", f"{target.name}: {reason}"


def _map(task: Callable[[Any], Any], jobs: Sequence[Any], workers: int) -> Iterator[Any]:
    """Results in the order of the jobs."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(task, jobs)
        return
    # Spawned, for a fork of a process that has threads (the bar is one) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(task, jobs, chunksize=max(1, min(16, len(jobs) // (4 * workers))))
    except BrokenProcessPool:
        remedy = "the same command with fewer --workers goes on"
        raise CannotPrepare(f"a worker was killed, perhaps for its memory; {remedy}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is the parent's to answer, and when the parent is killed its workers end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed run was writing."""
    if folder.is_dir():
        for leftover in folder.glob(f".*{_TEMPORARY}"):
            leftover.unlink(missing_ok=True)


@contextmanager
def only_run(data_root: Path) -> Iterator[None]:
    """Hold ``data_root/.prepare.lock``; the system gives it back, however the process ends.

    Raises:
        CannotPrepare: another run holds it, or the folder cannot be written to.
    """
    try:
        file = (data_root / _LOCK).open("w")
    except OSError as error:
        raise CannotPrepare(str(cannot_write(data_root / _LOCK, error))) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotPrepare(f"another run prepares data below {data_root}; wait for it or stop it") from None
        yield


def stems_in(folder: Path, pattern: str) -> set[str]:
    """The names without ending of the visible files of a folder that match a pattern."""
    return {path.stem for path in visible(folder.glob(pattern))}


def read_names(path: Path) -> list[str]:
    """The names that a list holds, one a line."""
    return [line for _, line in read_lines(path, "write it first")]


def need(path: Path, dataset: str, origin: str) -> Path:
    """The path, if it is there.

    Args:
        origin: what to download and from where, as it goes on after "unpack".

    Raises:
        MissingSource: it is not.
    """
    if not path.exists():
        raise MissingSource(f"{dataset}: {path} is missing; unpack {origin}")
    return path


def unpaired(split: str, pictures: set[str], labels: set[str]) -> list[str]:
    """A sentence for pictures without a label, and one for labels without a picture.

    Args:
        pictures, labels: stems that should be equal.
    """
    pairs = ((pictures - labels, "pictures of", "label"), (labels - pictures, "labels of", "picture"))
    return [
        f"{len(alone)} {what} {split} have no {other} (the first: {min(alone)})"
        for alone, what, other in pairs
        if alone
    ]
