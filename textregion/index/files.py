"""Which picture files are there, and why one that an index holds is not: deleted, excluded, or on a disk that is not
mounted. Asks the file system for facts only, never for bytes."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..image import IMAGE_SUFFIXES
from .rows import FileFacts


@dataclass
class Found:
    """What there is below the paths that were named."""

    files: dict[str, FileFacts] = field(default_factory=dict)
    """Facts of every picture by its absolute path."""
    scopes: list[str] = field(default_factory=list)
    """Folders and files whose pictures are all accounted for."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Folders that could not be listed, and why."""


@dataclass
class Missing:
    """Pictures that an index holds below the named paths and that were not found."""

    deleted: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    """Still there, but not asked for."""
    unmounted: dict[str, int] = field(default_factory=dict)
    """Folders that are not there or empty, as an unmounted disk's is, and how many pictures each holds."""


def find_pictures(named: Sequence[str | os.PathLike[str]], exclude: Sequence[str], known: Iterable[str]) -> Found:
    """The pictures that paths stand for: files, folders with all folders in them, or globs.

    Hidden files and folders are passed over; so are indexes. A link to a folder is followed, once.

    Args:
        named: a path that is not there is an error unless something below it is in ``known``.
        exclude: globs; a file or folder that one fits, by its name, its path below what was named, or its whole path,
            is passed over with all that is in it.
        known: paths of pictures that the index holds.

    Raises:
        UserError: a path that does not exist, or a glob that fits nothing.
    """
    found = Found()
    for name in [os.fspath(name) for name in named]:
        path = os.path.abspath(name)
        if os.path.isdir(path):
            found.scopes.append(path)
            _walk(path, exclude, found)
        elif os.path.isfile(path):
            found.scopes.append(path)
            if not _is_excluded(path, os.path.basename(path), exclude):
                _note(path, found)
        elif glob.has_magic(name) and not os.path.lexists(path):
            _expand(name, exclude, found)
        elif any(is_below(picture, path) for picture in known):
            found.scopes.append(path)
        else:
            raise UserError(f"There is no file or folder {name!r}: check its name.")
    return found


def missing_pictures(known: Iterable[str], found: Found, exclude: Sequence[str]) -> Missing:
    """What has become of the pictures below the named paths that were not found.

    Args:
        known: paths of pictures that the index holds.
        found: what :func:`find_pictures` found.
        exclude: the same globs.
    """
    missing = Missing()
    empty: dict[str, str | None] = {}
    for path in known:
        scope = next((scope for scope in found.scopes if is_below(path, scope)), None)
        if scope is None or path in found.files:
            continue
        if _excluded_below(path, scope, exclude) or os.path.lexists(path):
            missing.excluded.append(path)
            continue
        folder = _empty_ancestor(path, scope, found.unreadable, empty)
        if folder is None:
            missing.deleted.append(path)
        else:
            missing.unmounted[folder] = missing.unmounted.get(folder, 0) + 1
    return missing


def _walk(root: str, exclude: Sequence[str], found: Found) -> None:
    seen: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            stat = os.stat(folder)
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable[folder] = error.strerror or str(error)
            continue
        if {"index.json", "parts"} <= {entry.name for entry in entries}:
            continue  # an index, whose answers may be drawn beside it
        inner = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if exclude and _is_excluded(entry.path, os.path.relpath(entry.path, root), exclude):
                continue
            if entry.is_dir():
                inner.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file():
                _note(entry.path, found)
        folders += reversed(inner)


def _expand(pattern: str, exclude: Sequence[str], found: Found) -> None:
    files = [os.path.abspath(path) for path in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(path)]
    for path in files:
        if not _is_excluded(path, os.path.basename(path), exclude):
            _note(path, found)
    if not files:
        raise UserError(f"There are no pictures in {pattern!r}: check its name.")


def _note(path: str, found: Found) -> None:
    try:
        found.files[path] = FileFacts.of(path)
    except OSError:  # removed just now
        return


def _is_excluded(path: str, relative: str, exclude: Sequence[str]) -> bool:
    names = (path, relative, os.path.basename(path))
    return any(fnmatch.fnmatchcase(name, glob_.rstrip("/")) for glob_ in exclude for name in names)


def _excluded_below(path: str, scope: str, exclude: Sequence[str]) -> bool:
    """Whether the path or a folder between it and the scope is excluded."""
    if not exclude:
        return False
    parts = Path(os.path.relpath(path, scope)).parts
    if parts == (".",):
        return _is_excluded(path, os.path.basename(path), exclude)
    steps = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(_is_excluded(os.path.join(scope, step), step, exclude) for step in steps)


def _empty_ancestor(path: str, scope: str, unreadable: Mapping[str, str], empty: dict[str, str | None]) -> str | None:
    """The folder that is not there or empty and would hold the path; None where it was plainly deleted."""
    folder = os.path.dirname(path)
    if folder not in empty:
        empty[folder] = _judge(folder, scope if scope != path else folder, unreadable)
    return empty[folder]


def _judge(folder: str, scope: str, unreadable: Mapping[str, str]) -> str | None:
    """The nearest ancestor that is there, if it is empty or cannot be listed; the scope, if that is not there."""
    while not os.path.isdir(folder):
        if folder == scope or os.path.dirname(folder) == folder:
            return scope
        folder = os.path.dirname(folder)
    if folder in unreadable:
        return folder
    try:
        with os.scandir(folder) as entries:
            return folder if next(entries, None) is None else None
    except OSError:
        return folder


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute path is a folder, or lies in it at any depth."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
