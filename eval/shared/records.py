"""What every evaluation keeps: a record for each finished example, taken up again after an interruption."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from textregion import UserError
from textregion.files import cannot_write
from utils.results import plain

logger = logging.getLogger(__name__)

Record = dict[str, Any]

_REMEDY = "use the same setting, choose another folder, or delete the old records to start anew"


class Records(Mapping[str, dict[str, Any]]):
    """Records by key, each held as its line of JSON: a fraction of the memory, however long a run."""

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}

    def __getitem__(self, key: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self._lines[key])
        del record["key"]
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __or__(self, other: Records) -> Records:
        joined = Records()
        joined._lines = self._lines | other._lines
        return joined

    def add_line(self, key: str, line: bytes) -> None:
        """Take a record as it is written."""
        self._lines[key] = line


class RecordFile:
    """JSON Lines, one finished example a line, keyed; the first line holds the settings.

    Args:
        path: taken up where it exists. A torn last line is dropped. Missing folders are made.
        settings: what the records depend on (see :func:`settings_of`).

    Raises:
        UserError: records made under other settings, a second run on the same file, a file that cannot be written.
    """

    done: Records
    """Every finished record by its key."""

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            self.done, self._length = _read(self.path, settings)
            self._file = open(self.path, "ab")  # noqa: SIM115 (open as long as the run lasts)
            self._file.truncate(self._length)
            if self._length == 0:
                self._write({"settings": plain(settings)})
        except OSError as error:
            self._lock.close()
            raise cannot_write(self.path, error) from None
        except UserError:
            self._lock.close()
            raise

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one finished example; on disk when this returns.

        Raises:
            UserError: the disk is full or the file cannot be written; every earlier record is kept.
        """
        if key in self.done:
            raise ValueError(f"a record for {key!r} is there already")
        self.done.add_line(key, self._write({"key": key, **plain(record)}))

    def close(self) -> None:
        """Give the file and its lock back."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: Mapping[str, Any]) -> bytes:
        data = (json.dumps(line) + "\n").encode()
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._drop_torn_line()
            raise cannot_write(self.path, error) from None
        self._length += len(data)
        return data

    def _drop_torn_line(self) -> None:
        # What is left in the buffer must not be flushed later, so the file object is given up with it.
        descriptor = os.dup(self._file.fileno())
        try:
            self._file.close()
        except OSError:
            logger.debug("the rest of a record could not be written either")
        os.ftruncate(descriptor, self._length)
        self._file = os.fdopen(descriptor, "ab")


def read_records(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> Records:
    """The records of a file that another process may be writing, by key; nothing is changed.

    Raises:
        UserError: records made under other settings.
    """
    return _read(Path(path), settings)[0]


def _read(path: Path, settings: Mapping[str, Any]) -> tuple[Records, int]:
    """Records by key, and the length in bytes of the part of the file that is sound."""
    done = Records()
    length = 0
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return done, length
    for line in data.splitlines(keepends=True):
        content = _parse(line)
        if content is None:
            logger.warning("Records %s end in a torn line; that example is done again.", path)
            break
        if length == 0:
            _check_settings(path, content, settings)
        else:
            done.add_line(str(content["key"]), line)
        length += len(line)
    return done, length


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return content if isinstance(content, dict) and ("key" in content or "settings" in content) else None


def _check_settings(path: Path, header: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if not isinstance(header.get("settings"), dict):
        raise UserError(f"File {str(path)!r} holds no records of an evaluation: choose another folder.")
    then, now = _flat(header["settings"]), _flat(plain(settings))
    for name in [*now, *then]:
        if then.get(name) != now.get(name):
            raise UserError(
                f"Records in {str(path)!r} were made with {name} = {then.get(name)!r}, "
                f"but this run has {now.get(name)!r}: {_REMEDY}."
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _lock(path: Path) -> TextIO:
    """Hold ``.<name>.lock`` as long as this process lives; the system gives it back, however the process ends."""
    file = open(path.with_name(f".{path.name}.lock"), "a+", encoding="utf-8")  # noqa: SIM115 (open while held)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise UserError(
            f"Another run ({holder}) is writing {str(path)!r}: wait for it, stop it, or choose another folder."
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
