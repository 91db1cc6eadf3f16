"""Files that are whole or not there, and what is said of one that cannot be written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .errors import UserError


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed. Missing folders are made.

    Raises:
        UserError: the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """See to it that files which were renamed into a folder, or removed from it, stay so when the power fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> UserError:
    """What to say of a file that could not be written."""
    reason = error.strerror or error
    return UserError(f"File {str(path)!r} cannot be written ({reason}): free space or choose another folder.")
