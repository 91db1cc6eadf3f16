"""The folder of an index as it is on the disk: parts, tombstones, locks, and which rows of them are alive."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..files import cannot_write, sync_folder
from .part import SUFFIX, Part, read_part, verify_part, write_part
from .rows import PictureFacts, PictureRows
from .settings import FILE, IndexSettings
from .vectors import Vectors, fits, load_vectors, store_vectors

logger = logging.getLogger(__name__)

STALE_SECONDS = 3600.0
"""A temporary file of that age is of a process that was killed."""


class Busy(UserError):
    """Another process is writing."""


class Entry(NamedTuple):
    """Where a picture's rows are."""

    part: Part
    picture: int
    """Which of the part's."""

    @property
    def facts(self) -> PictureFacts:
        return self.part.pictures[self.picture]

    @property
    def rows(self) -> PictureRows:
        return self.part.rows(self.picture)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A part with what was derived from it."""

    part: Part
    vectors: Vectors
    written_ns: int
    """When the part came here."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All sound parts as they were at one moment, and which of their pictures are alive."""

    loaded: tuple[Loaded, ...] = ()
    """The newest first."""
    live: dict[str, Entry] = field(default_factory=dict)
    """Every picture by its path."""
    shadowed: tuple[Entry, ...] = ()
    """Entries of a path that another entry stands for."""
    gone: frozenset[str] = frozenset()
    """Names of all tombstones."""
    alive: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """(P,) for the pictures of all parts in order."""
    damaged: tuple[str, ...] = ()
    """One sentence for each part that was left out."""

    def all_of(self, paths: Sequence[str]) -> list[Entry]:
        """Every entry of some paths, also those that another stands for."""
        wanted = set(paths)
        live = [self.live[path] for path in paths if path in self.live]
        return live + [entry for entry in self.shadowed if entry.facts.path in wanted]

    @property
    def regions(self) -> int:
        """Of the pictures that are alive."""
        return sum(entry.facts.regions for entry in self.live.values())


class Store:
    """An index's folder. Reading takes no lock for longer than it needs to find all files.

    Args:
        folder: with an ``index.json``.
        repair: leave damaged parts out, with a warning, instead of refusing the whole.
    """

    def __init__(self, folder: Path, repair: bool = False) -> None:
        self.folder, self.repair = folder, repair
        self.settings = IndexSettings.read(folder)
        self._known: dict[str, Loaded] = {}

    @property
    def parts(self) -> Path:
        """The folder of parts."""
        return self.folder / "parts"

    @property
    def gone(self) -> Path:
        """The folder of tombstones: empty files, each named after a part and a picture's place in it."""
        return self.folder / "gone"

    @property
    def cache(self) -> Path:
        """The folder of what can be made again."""
        return self.folder / "cache"

    def load(self) -> Catalogue:
        """Everything that is there now.

        Raises:
            UserError: a damaged part, or one of other models or options.
        """
        with self._shared(self.folder / FILE):
            stats = {entry.name: entry.stat() for entry in _entries(self.parts) if _is_part(entry.name)}
            gone = frozenset(entry.name for entry in _entries(self.gone))
            loaded, problems = {}, []
            for name in sorted(stats):
                try:
                    loaded[name] = self._load_part(self.parts / name, stats[name])
                except FileNotFoundError:  # somebody has just taken it out by hand
                    continue
                except UserError as error:
                    if not self.repair:
                        raise
                    logger.warning("Left out: %s", error)
                    problems.append(str(error))
        self._known = loaded
        newest_first = sorted(loaded.values(), key=lambda one: (-one.written_ns, one.part.name))
        return _catalogue(newest_first, gone, problems)

    def _load_part(self, path: Path, stat: os.stat_result) -> Loaded:
        known = self._known.get(path.name)
        if known is not None and known.written_ns == stat.st_mtime_ns:
            return known
        kept = self.cache / "vectors" / path.name
        vectors = load_vectors(kept, stat)
        if vectors is None:
            verify_part(path)
        part = read_part(path)
        difference = self.settings.difference(part.identity, "in the part")
        if difference:
            raise UserError(f"Part {str(path)!r} is of another index: {difference}; take it out, or use --repair.")
        if vectors is None or not fits(vectors, part):
            vectors = Vectors.of(part.tokens)
            store_vectors(kept, vectors, stat)
        return Loaded(part, vectors, stat.st_mtime_ns)

    def add(self, pictures: Sequence[PictureRows]) -> str:
        """Write a part of pictures; when this returns they are there to stay.

        Returns:
            The part's name.

        Raises:
            UserError: it cannot be written.
        """
        name = write_part(self.parts, pictures, self.settings.identity())
        # The same pictures may have been here before, and have left.
        self._unlink(self.gone / tombstone_of(name, picture) for picture in range(len(pictures)))
        return name

    def bury(self, entries: Iterable[Entry]) -> None:
        """Put a tombstone on pictures.

        Raises:
            UserError: it cannot be written.
        """
        paths = [self.gone / tombstone_of(entry.part.name, entry.picture) for entry in entries]
        if not paths:
            return
        where = self.gone
        try:
            self.gone.mkdir(exist_ok=True)
            for where in paths:
                where.touch()
            sync_folder(self.gone)
        except OSError as error:
            raise cannot_write(where, error) from None

    def remove(self, parts: Iterable[Part], gone: Iterable[str]) -> None:
        """Remove parts that others stand for, then their tombstones; readers that come meanwhile wait."""
        parts = list(parts)
        with _locked(self.folder / FILE, fcntl.LOCK_EX):
            self._unlink(self.parts / (part.name + SUFFIX) for part in parts)
            if parts:
                sync_folder(self.parts)
            self._unlink(self.gone / name for name in gone)
        self._unlink(self.cache / "vectors" / (part.name + SUFFIX) for part in parts)

    def remove_litter(self) -> None:
        """Remove what killed processes left half written."""
        for folder in (self.folder, self.parts, self.cache / "vectors"):
            for entry in _entries(folder):
                if entry.name.endswith(".tmp") and time.time() - entry.stat().st_mtime > STALE_SECONDS:
                    self._unlink([Path(entry.path)])

    def _unlink(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"File {str(path)!r} cannot be removed ({error.strerror or error}).") from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While pictures are added: others may add too, but nobody compacts."""
        with self._shared(self.folder / "writers"):
            yield

    @contextlib.contextmanager
    def compacting(self) -> Iterator[None]:
        """While parts are rewritten: nobody adds, and nobody else compacts.

        Raises:
            UserError: somebody does.
        """
        try:
            with _locked(self.folder / "writers", fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise Busy(
                f"Index {str(self.folder)!r} is being written to by another process: compact it when that is done."
            ) from None

    @contextlib.contextmanager
    def _shared(self, path: Path) -> Iterator[None]:
        with _locked(path, fcntl.LOCK_SH):
            yield


def tombstone_of(part: str, picture: int) -> str:
    """Name of the tombstone of a part's picture."""
    return f"{part}.{picture}"


def _catalogue(newest_first: Sequence[Loaded], gone: frozenset[str], problems: Sequence[str]) -> Catalogue:
    live: dict[str, Entry] = {}
    shadowed: list[Entry] = []
    alive: list[bool] = []
    for part in (one.part for one in newest_first):
        for picture, facts in enumerate(part.pictures):
            buried = bool(gone) and tombstone_of(part.name, picture) in gone
            wins = not buried and facts.path not in live
            if wins:
                live[facts.path] = Entry(part, picture)
            elif not buried:
                shadowed.append(Entry(part, picture))
            alive.append(wins)
    return Catalogue(tuple(newest_first), live, tuple(shadowed), gone, np.array(alive, bool), tuple(problems))


def _is_part(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The files of a folder; none where it is not there.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"Folder {str(folder)!r} of the index cannot be read ({error.strerror or error}).") from None


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock on a file, which is made where it is missing. Where files cannot be locked, go on without.

    Raises:
        BlockingIOError: somebody else holds it, and ``how`` says not to wait.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:  # a folder that is only to be read: nobody writes to it from here
        logger.debug("no lock on %s (%s)", path, error)
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            raise
        except OSError as error:
            logger.debug("no lock on %s (%s)", path, error)
        yield
    finally:
        os.close(descriptor)
