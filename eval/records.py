"""What every evaluation writes: a record for each finished example, and results with settings and versions."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import platform
import socket
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from textregion import UserError

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "sam2", "numpy", "opencv-python", "onedl-mmsegmentation")
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
            raise _cannot_write(self.path, error) from None
        try:
            self.done, self._length = _read(self.path, settings)
            self._file = open(self.path, "ab")  # noqa: SIM115 (open as long as the run lasts)
            self._file.truncate(self._length)
            if self._length == 0:
                self._write({"settings": plain(settings)})
        except OSError as error:
            self._lock.close()
            raise _cannot_write(self.path, error) from None
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
            raise _cannot_write(self.path, error) from None
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


def settings_of(options: Any, *, models: Mapping[str, Any], dtype: str, **data: Any) -> dict[str, Any]:
    """Every setting that a number depends on, as plain JSON values.

    Args:
        options: a ``SegmenterOptions``.
        models: names of the models and checkpoints as they were asked for.
        dtype: precision of the frozen models.
        data: what is evaluated, and how.
    """
    return dict(plain({"models": dict(models), "dtype": dtype, "options": options.as_dict(), **data}))


def write_results(path: str | os.PathLike[str], results: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write results with settings, versions and revision beside them; whole or not at all.

    Two runs on one machine write the same bytes, apart from ``results["timing"]``, which is put last.

    Raises:
        UserError: the file cannot be written.
    """
    document = {key: value for key, value in results.items() if key != "timing"}
    document |= {"settings": settings, "versions": versions(), "revision": revision()}
    if "timing" in results:
        document["timing"] = results["timing"]
    write_text(path, json.dumps(plain(document), indent=2) + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all: under a temporary name, then renamed.

    Raises:
        UserError: the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of Python and of every package that a number may depend on, where installed."""
    found = {"python": platform.python_version()}
    for name in ("textregion", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """Git revision of this checkout (``-dirty`` where files were changed), or None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def plain(value: Any) -> Any:
    """A value as JSON keeps it: lists for tuples, text for paths, None for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"File {str(path)!r} cannot be written ({reason}): free space or choose another folder.")
