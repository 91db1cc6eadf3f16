"""Files that are whole or not there, and what is said of one that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed. Missing folders are made.

    Raises:
        UserError: the file cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(target, error) from None


@contextlib.contextmanager
def replacing(target: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A hidden name beside a file to write to, which takes the file's place if all went well and is gone otherwise.

    Args:
        target: the file; its folder must be there.
        suffix: what the other name ends with.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}{suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
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


def cannot_write(path: str | os.PathLike[str], error: OSError, what: str = "File") -> UserError:
    """What to say of a file or folder that could not be written: what is wrong there, and its own remedy.

    Args:
        path: of the file, or of the folder that was to be made.
        error: what the system said.
        what: the path is.
    """
    reason, remedy = _obstacle(Path(path), error)
    return UserError(f"{what} {os.fspath(path)!r} cannot be written ({reason}): {remedy}.")


def check_folder(path: str | os.PathLike[str], what: str) -> None:
    """Refuse a folder that cannot be made or written to, as far as that can be seen; nothing is made.

    Raises:
        UserError: a file is in its way, or nobody may write there.
    """
    folder = Path(path)
    if _in_the_way(folder) is not None:
        raise cannot_write(folder, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)), what)
    if not os.access(_nearest(folder), os.W_OK | os.X_OK):
        raise cannot_write(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), what)


_REMEDIES = {
    errno.ENOSPC: "free space or choose another folder",
    errno.EDQUOT: "free space or choose another folder",
    errno.EROFS: "choose a folder that is not read-only",
    errno.EFBIG: "choose a folder on another file system",
    errno.EINVAL: "choose a name or folder that its file system allows",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "mend the links that lead to one another, or choose another folder",
    errno.EMFILE: "raise the limit with ulimit -n",
    errno.ENFILE: "close other programs",
    errno.EIO: "check the disk or choose another folder",
    errno.EBUSY: "close what uses it, or choose another folder",
    errno.ETXTBSY: "close what uses it, or choose another folder",
}


def _obstacle(path: Path, error: OSError) -> tuple[str, str]:
    """Why nothing could be written to a path, and what to do about it."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
        blocking = _in_the_way(path if error.errno == errno.EEXIST else path.parent)
        if blocking is not None:
            what = "a link that leads nowhere" if not os.path.exists(blocking) else "a file"
            return f"{str(blocking)!r} is {what} where a folder is wanted", "move it away or choose another folder"
        if not path.parent.exists():
            return f"there is no folder {str(path.parent)!r}", "make it or choose another folder"
    if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY) and path.is_dir():
        return "it is a folder where a file is wanted", "move it away or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission to write to {str(_nearest(path))!r}", "change its permissions or choose another folder"
    return error.strerror or str(error), _REMEDIES.get(error.errno or 0, "choose another folder")


def _in_the_way(folder: Path) -> Path | None:
    """The first on the way to a folder that is there and is none."""
    way = [*reversed(folder.parents), folder]
    return next((place for place in way if os.path.lexists(place) and not os.path.isdir(place)), None)


def _nearest(path: Path) -> Path:
    """The path itself where it is there, else the folder above it that is."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), Path())
