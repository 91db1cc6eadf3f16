"""Results as files that other programs read: regions as JSON and as COCO's, label maps as indexed-palette PNG."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from .coco import Annotation
from .errors import UserError
from .files import cannot_write
from .regions import RegionTokens
from .version import __version__

MAX_PALETTE = 256
"""Words that an 8-bit indexed PNG can tell apart."""
NO_WORD = 255
"""Value of a label map's pixels without a word: the last one, as in VOC's."""
_COMPRESSION = 3
"""A third of the time of zlib's default for a sixth more bytes."""


def regions_json(
    annotations: Sequence[Annotation], size_hw: tuple[int, int], words: Sequence[str], **facts: Any
) -> bytes:
    """A JSON file of a picture: ``facts``, ``size`` [H, W], ``words`` in the order of the label map's indices, and
    ``regions``, its annotations (:meth:`RegionTokens.to_coco`).

    It is UTF-8 whatever the texts hold: half characters, as file names in another encoding have, are escaped.
    """
    content = {**facts, "size": list(size_hw), "words": list(words), "regions": list(annotations)}
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


class CocoRun:
    """The COCO file of many pictures: gives out the ids, and gathers what was found.

    Ids count from 1: a picture's is its place among ``pictures``, a word's its place among all words of the run.
    Pictures go by their names below the folder that they share, so that two of one name are told apart, and readers
    that do not leave a folder find them. Bytes of a name that are not UTF-8, which JSON cannot hold, are spelled
    ``\\xff``.

    Args:
        pictures: all paths of the run, without repetition.
        words: of each of them.
    """

    def __init__(self, pictures: Sequence[Path], words: Sequence[Sequence[str]]) -> None:
        paths = {picture: os.path.abspath(picture) for picture in pictures}
        folder = os.path.commonpath([os.path.dirname(path) for path in paths.values()])
        self._folder = folder if any(map(os.path.isabs, pictures)) else os.path.relpath(folder)
        self._names = {picture: _portable(os.path.relpath(path, folder)) for picture, path in paths.items()}
        self._image_ids = {picture: number for number, picture in enumerate(pictures, 1)}
        every_word = dict.fromkeys(word for own in words for word in own)
        self._category_ids = {word: number for number, word in enumerate(every_word, 1)}
        self._next_id = 1
        self._images: list[dict[str, Any]] = []
        self._files: list[Path] = []

    def annotations(
        self, picture: Path, regions: RegionTokens, scores: Tensor, words: Sequence[str]
    ) -> list[Annotation]:
        """A picture's annotations with ids of the run; scores (R, K) are those of its own K words."""
        ids = [self._category_ids[word] for word in words]
        found = regions.to_coco(
            scores, words, image_id=self._image_ids[picture], first_id=self._next_id, category_ids=ids
        )
        self._next_id += len(found)
        return found

    def add(self, picture: Path, size_hw: tuple[int, int], regions_file: Path) -> None:
        """A picture is finished; the file (:func:`regions_json`) holds its annotations."""
        height, width = size_hw
        name = {"id": self._image_ids[picture], "file_name": self._names[picture]}
        self._images.append(name | {"height": height, "width": width})
        self._files.append(regions_file)

    def write(self, path: Path, **info: Any) -> None:
        """Write the COCO file of the pictures that were added, if any: whole or not at all.

        It is ASCII, as some readers take whatever encoding the machine has.

        Args:
            path: of the file.
            info: facts of the run.

        Raises:
            UserError: it cannot be written.
        """
        if not self._images:
            return
        head = coco_head(self._images, list(self._category_ids), folder=_portable(self._folder), **info)
        write_files({path: self._content(head)})

    def _content(self, head: dict[str, Any]) -> Iterator[bytes]:
        yield json.dumps(head)[:-1].encode("ascii") + b', "annotations": ['
        between = "\n"
        for regions_file in self._files:
            for annotation in json.loads(regions_file.read_text(encoding="utf-8"))["regions"]:
                yield (between + json.dumps(annotation)).encode("ascii")
                between = ",\n"
        yield b"\n]}\n"


def coco_head(images: Sequence[Mapping[str, Any]], words: Sequence[str], **info: Any) -> dict[str, Any]:
    """A COCO file without its annotations; the words are the categories, with ids from 1."""
    return {
        "info": {"description": "TextRegion", "version": __version__, **info},
        "licenses": [],
        "images": list(images),
        "categories": [{"id": number, "name": word, "supercategory": ""} for number, word in enumerate(words, 1)],
    }


def _portable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def label_map_png(labels: Tensor, colours: npt.NDArray[np.uint8]) -> bytes:
    """An indexed-palette PNG file: a pixel's index is the position of its word in the list, or 255 (white) for none.

    Args:
        labels: (H, W) integers in 0..K-1, or -1.
        colours: (K, 3) uint8 RGB, the palette; K of at most 256, and of at most 255 where a label is -1.

    Raises:
        UserError: more words.
    """
    if len(colours) > MAX_PALETTE:
        raise UserError(f"A label map holds at most {MAX_PALETTE} words, but there are {len(colours)}: give fewer.")
    index = labels.cpu().numpy()
    if index.min(initial=0) < 0:
        if len(colours) > NO_WORD:
            raise UserError(
                f"{len(colours)} words leave a label map no value for pixels without: give at most {NO_WORD}."
            )
        index = np.where(index < 0, NO_WORD, index)
        colours = np.concatenate([colours, np.full((MAX_PALETTE - len(colours), 3), 255)])
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes(), "RGB")
    return png(image)


def png(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def write_files(files: Mapping[Path, bytes | Iterable[bytes]]) -> None:
    """Write files that belong together: all of them to temporary names first, then renamed.

    Args:
        files: their content, in one piece or in many.

    Raises:
        UserError: a file that cannot be written; then no file of the set was touched.
    """
    temporary = {path.with_name(f".{path.name}.{os.getpid()}.tmp"): path for path in files}
    where = next(iter(files), Path())
    try:
        for name, where in temporary.items():
            _write(name, files[where])
        for where in files:
            if where.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        for name, where in temporary.items():
            os.replace(name, where)
    except OSError as error:
        raise cannot_write(where, error, "Result") from None
    finally:
        for name in temporary:
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)


def _write(path: Path, content: bytes | Iterable[bytes]) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    with path.open("wb") as file:
        file.writelines(content)


def remove(path: Path) -> None:
    """Remove a result of an earlier run, if there is one.

    Raises:
        UserError: it cannot be removed, and so not be written either.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error, "Result") from None
