"""Which pictures a page may ask for: files that were named to the server, and what was dropped on the page.

A picture is asked for by an id that the server made, never by a path.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import UserError
from ..image import RGB, read_rgb
from ..index import files
from ..regions import RegionTokens
from ..segmenter import TextRegionSegmenter

LONGEST_NAME = 120
"""Letters that are kept of the name of a dropped picture."""


class ServedPicture(Protocol):
    """A picture that the page may ask for."""

    @property
    def id(self) -> str:
        """What the page asks for it by."""

    @property
    def name(self) -> str:
        """What a person knows it by."""

    def read(self) -> RGB:
        """Its pixels; raises UserError where it cannot be read."""

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        """Its regions; raises UserError where it cannot be read."""


@dataclass(frozen=True)
class FilePicture:
    """A picture file below a folder that was named to the server, or one that was named itself."""

    id: str
    name: str
    path: Path
    root: Path
    """Resolved; the file is not read where it leads out of this folder (or is not this file)."""

    @classmethod
    def of(cls, path: Path, root: Path, name: str) -> FilePicture:
        """The picture at a path; its id stays the same when the server is started again."""
        return cls(picture_id(path), printable(name), path, root)

    def read(self) -> RGB:
        """See :class:`ServedPicture`."""
        name = f"Picture {self.name!r}"
        if not leads_into(self.path, self.root):
            raise UserError(f"{name} is not below the served folder any more: start the server again.")
        try:
            with self.path.open("rb") as file:
                return read_rgb(file, name)
        except OSError as error:
            raise UserError(f"{name} cannot be read ({error.strerror}): see whether it is still there.") from None

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        """See :class:`ServedPicture`."""
        return segmenter.encode(self.read())


@dataclass(frozen=True)
class DroppedPicture:
    """A picture that came through the page, kept in memory."""

    id: str
    name: str
    content: bytes
    max_pixels: int

    @classmethod
    def of(cls, content: bytes, name: str, max_pixels: int) -> DroppedPicture:
        """The picture of some bytes; the same bytes have the same id."""
        return cls("dropped-" + hashlib.sha256(content).hexdigest()[:20], _file_name(name), content, max_pixels)

    def read(self) -> RGB:
        """See :class:`ServedPicture`."""
        return read_rgb(io.BytesIO(self.content), f"Picture {self.name!r}", self.max_pixels)

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        """See :class:`ServedPicture`."""
        return segmenter.encode(self.read())


class Pictures:
    """All pictures of a server: those named at its start, and the latest of those dropped.

    Args:
        named: pictures in the order in which they are listed.
        most_dropped, most_bytes: how many dropped pictures are kept, and how many bytes of them; the oldest leave.
    """

    def __init__(
        self, named: Sequence[ServedPicture] = (), *, most_dropped: int = 32, most_bytes: int = 256 * 2**20
    ) -> None:
        self.named = tuple(named)
        self._by_id = {picture.id: picture for picture in named}
        self._dropped: dict[str, DroppedPicture] = {}
        self._most_dropped, self._most_bytes = most_dropped, most_bytes
        self._lock = threading.Lock()

    def get(self, id: str) -> ServedPicture | None:
        """The picture of an id, if there is one."""
        return self._by_id.get(id) or self._dropped.get(id)

    def drop(self, picture: DroppedPicture) -> None:
        """Keep a dropped picture."""
        with self._lock:
            self._dropped.pop(picture.id, None)
            self._dropped[picture.id] = picture
            while len(self._dropped) > 1 and (
                len(self._dropped) > self._most_dropped
                or sum(len(kept.content) for kept in self._dropped.values()) > self._most_bytes
            ):
                del self._dropped[next(iter(self._dropped))]


def find_pictures(names: Sequence[str | os.PathLike[str]]) -> list[FilePicture]:
    """The pictures of files, globs and folders with all below them, each once; see :func:`textregion.index.files`.

    Links that lead out of their folder are left out.

    Raises:
        UserError: a path that is not there, or a folder without pictures.
    """
    found: dict[str, FilePicture] = {}
    for name in [os.fspath(name) for name in names]:
        if os.path.isdir(name):
            pictures = _below(Path(os.path.abspath(name)))
        else:
            paths = map(Path, files.find_pictures([name], (), ()).files)
            pictures = [FilePicture.of(path, Path(os.path.realpath(path)), path.name) for path in paths]
        if not pictures:
            raise UserError(f"There are no pictures in {name!r}: name another folder.")
        for picture in pictures:
            found.setdefault(picture.id, picture)
    return list(found.values())


def _below(folder: Path) -> list[FilePicture]:
    root = Path(os.path.realpath(folder))
    paths = map(Path, files.find_pictures([folder], (), ()).files)
    return [FilePicture.of(path, root, path.relative_to(folder).as_posix()) for path in paths if leads_into(path, root)]


def leads_into(path: Path, root: Path) -> bool:
    """Whether a path, with all links followed, lies in a (resolved) folder, or is that (resolved) file."""
    return Path(os.path.realpath(path)).is_relative_to(root)


def picture_id(path: str | os.PathLike[str]) -> str:
    """What a picture file is asked for by; it does not tell the path."""
    return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:20]


def printable(name: str) -> str:
    """A name that any page and any JSON can hold: without control characters and half characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def _file_name(name: str) -> str:
    """The last part of whatever a browser calls a file."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return printable(last)[-LONGEST_NAME:].strip() or "picture"
