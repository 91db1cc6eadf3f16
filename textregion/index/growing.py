"""How an index grows: what is new is encoded, what is known by its bytes is not, what is gone gets a tombstone."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoints.digests import sha256
from ..errors import UserError
from ..files import cannot_write
from ..regions import RegionTokens
from .files import find_pictures, missing_pictures
from .part import MOST_PICTURES
from .rows import FileFacts, PictureRows
from .store import Catalogue, Entry, Store

logger = logging.getLogger(__name__)

BATCH = 64
"""Pictures that are encoded before a part is written; a kill loses no more."""
FAILED = "failed.jsonl"

Encode = Callable[[str], RegionTokens]
Progress = Callable[[int, int], None]


@dataclass
class Growth:
    """What adding did: paths of pictures, each in one list."""

    unchanged: int = 0
    added: list[str] = field(default_factory=list)
    """They were not there before, and had to be encoded."""
    changed: list[str] = field(default_factory=list)
    """Other bytes than before."""
    moved: list[str] = field(default_factory=list)
    """Known by their bytes: moved, copied, touched or restored files, which need not be encoded."""
    deleted: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    """Kept, though they are excluded now."""
    unmounted: dict[str, int] = field(default_factory=dict)
    """Pictures kept by folders that are not there or empty."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Folders that could not be listed, and why; what the index holds of them is kept."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why each could not be encoded."""
    failed_before: int = 0
    """Not tried again, as they have not changed since."""


class Growing:
    """One run over some paths.

    Args:
        store: of the index.
        encode: makes the regions of a picture; raises :class:`UserError` for a bad one.
        progress: told how many of how many pictures are done, after each that is.
    """

    def __init__(self, store: Store, encode: Encode, progress: Progress | None = None) -> None:
        self._store, self._encode = store, encode
        self._progress: Progress = progress or (lambda done, total: None)
        self._waiting: dict[str, PictureRows] = {}
        self._encoded = 0
        self._before = Catalogue()
        self._known: dict[str, Entry] = {}
        self._spoiled: list[str] = []
        self.growth = Growth()

    def run(self, named: Sequence[str | os.PathLike[str]], exclude: Sequence[str]) -> Growth:
        """Make the index hold what is there.

        Raises:
            UserError: a path that is not there, paths without any picture, a file that cannot be written.
        """
        with self._store.writing():
            catalogue = self._before = self._store.load()
            found = find_pictures(named, exclude, catalogue.live)
            missing = missing_pictures(catalogue.live, found, exclude)
            if not found.files and not any(vars(missing).values()) and not found.unreadable:
                names = ", ".join(repr(os.fspath(name)) for name in named)
                raise UserError(f"There are no pictures in {names}: check the name and --exclude.")
            growth = self.growth
            growth.excluded, growth.unmounted = missing.excluded, missing.unmounted
            growth.unreadable = found.unreadable
            try:
                self._take_in(found.files, catalogue)
            finally:
                self._write()  # also what was finished when somebody interrupts
            self._store.bury(self._store.load().all_of([*missing.deleted, *self._spoiled]))
            growth.deleted = missing.deleted
            return growth

    def _take_in(self, files: dict[str, FileFacts], catalogue: Catalogue) -> None:
        failed = read_failed(self._store.folder)
        new = []
        for path, facts in files.items():
            entry = catalogue.live.get(path)
            if entry is not None and entry.facts.file == facts:
                self.growth.unchanged += 1
            elif failed.get(path) == facts:
                self.growth.failed_before += 1
                if entry is not None:  # somebody was killed before it left
                    self._spoiled.append(path)
            else:
                new.append(path)
        self._known = _by_content(catalogue) if new else {}
        self._progress(0, len(new))
        for done, path in enumerate(new, 1):
            self._take(path, catalogue.live.get(path))
            self._progress(done, len(new))

    def _take(self, path: str, before: Entry | None) -> None:
        """Rows for one new or changed file; a bad one is noted."""
        facts = None
        try:
            facts = FileFacts.of(path)
            rows = self._rows(path, facts)
            if FileFacts.of(path) != facts:
                raise UserError(f"Picture {path!r} changed while it was read: it is taken next time.")
        except OSError as error:
            self._fail(path, facts, f"Picture {path!r} cannot be read ({error.strerror or error}).")
        except MemoryError:
            self._fail(path, facts, f"There is not enough memory for picture {path!r}: make it smaller.")
        except UserError as error:
            self._fail(path, facts, str(error))
            self._spoiled.append(path)  # what it was before is not there any more
        else:
            if before is not None and before.facts.sha256 != rows.facts.sha256:
                self.growth.changed.append(path)
            elif path not in self.growth.moved:
                self.growth.added.append(path)
            self._waiting[path] = rows
            if self._encoded == BATCH or len(self._waiting) == MOST_PICTURES:
                self._write()

    def _rows(self, path: str, facts: FileFacts) -> PictureRows:
        """The rows of a file; those of another file of the same bytes where there is one."""
        digest = sha256(Path(path))
        waiting = next((rows for rows in self._waiting.values() if rows.facts.sha256 == digest), None)
        if waiting is not None or digest in self._known:
            rows = waiting or self._known[digest].rows
            self.growth.moved.append(path)
            return rows.of_file(path, facts)
        self._encoded += 1
        return PictureRows.of(path, facts, digest, self._encode(path))

    def _write(self) -> None:
        """Write a part of what waits; only then do the old rows of the same files leave."""
        if not self._waiting:
            return
        waiting, self._waiting, self._encoded = self._waiting, {}, 0
        name = self._store.add(list(waiting.values()))
        # What others have added since is not older than this: two writers must not bury each other's rows.
        self._store.bury(entry for entry in self._before.all_of(list(waiting)) if entry.part.name != name)
        self._known = _by_content(self._store.load())

    def _fail(self, path: str, facts: FileFacts | None, reason: str) -> None:
        self.growth.failed[path] = reason
        if facts is not None:
            note_failed(self._store.folder, path, facts, reason)


def _by_content(catalogue: Catalogue) -> dict[str, Entry]:
    """An entry for every content that was ever encoded and is still on the disk."""
    known: dict[str, Entry] = {}
    for one in catalogue.loaded:
        for picture, facts in enumerate(one.part.pictures):
            known.setdefault(facts.sha256, Entry(one.part, picture))
    return known


def note_failed(folder: Path, path: str, facts: FileFacts, reason: str) -> None:
    """Add a line about a bad picture; several processes may.

    Raises:
        UserError: it cannot be written.
    """
    record = {"picture": path, "size": facts.size, "mtime_ns": facts.mtime_ns, "error": reason}
    target = folder / FAILED
    try:
        with open(target, "ab+") as file:
            torn = b""
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                torn = b"" if file.read(1) == b"\n" else b"\n"  # a process was killed in the middle of its line
            file.write(torn + json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(target, error) from None


def read_failed(folder: Path) -> dict[str, FileFacts]:
    """The facts under which pictures failed last, by path."""
    lines = failed_lines(folder)
    return {record["picture"]: FileFacts(record["size"], record["mtime_ns"]) for record in lines}


def failed_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of bad pictures, in the order in which they came; lines that are torn are passed over."""
    path = folder / FAILED
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"File {str(path)!r} cannot be read ({error.strerror or error}).") from None
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        kinds = {"picture": str, "size": int, "mtime_ns": int}
        if isinstance(record, dict) and all(type(record.get(name)) is kind for name, kind in kinds.items()):
            yield record
