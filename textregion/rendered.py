"""Pictures of the miniatures' rendered world: their renderer says so in each, and the demo's own are known."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from .image import IMAGE_SUFFIXES

MARK = "rendered by miniatures.scenes of TextRegion"
DEMO_DIGESTS = {
    "30562fbe7a14b7323de5166253a8a1d1b09c685459ed267af29b22a04df5d8b6",  # scene_meadow.jpg
    "1dc560be3166462219288eb4f0f2c558d7f4d2f51c56394be960c9319cc91684",  # scene_portrait.jpg
    "071b921cebcfc44c80eb681ae34fff30c2cadc4cdbc743941ff441ed1258caf4",  # scene_street.jpg
    "91d70c01abae466eac484ac568d61db7dea416fbdc09645ac96253ca4b0fddc2",  # scene_wide.jpg
}
"""SHA-256 of the demo's pictures, which are older than the mark."""
_NUMBERED = re.compile(r"COCO_train2014_0000009\d{5}(_\d+)?\.jpg")
"""The renderer numbers pictures from 900001 on in RefCOCO's layout, where COCO has none."""


def marked(content: bytes) -> bytes:
    """The bytes of a JPEG or PNG with the mark as its comment; the pixels stay as they are."""
    text = MARK.encode()
    if content.startswith(b"\xff\xd8"):
        return content[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + content[2:]
    chunk = b"tEXtComment\0" + text
    header = 8 + 25  # the signature and IHDR, which is always the first chunk
    length, checksum = (len(chunk) - 4).to_bytes(4, "big"), zlib.crc32(chunk).to_bytes(4, "big")
    return content[:header] + length + chunk + checksum + content[header:]


def is_rendered(path: Path) -> bool | None:
    """Whether a picture is of the rendered world; None: it cannot be read."""
    if _NUMBERED.fullmatch(path.name):
        return True
    try:
        with Image.open(path) as image:
            comment = image.info.get("comment", image.info.get("Comment", b""))
        said = comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)
        return said == MARK or hashlib.sha256(path.read_bytes()).hexdigest() in DEMO_DIGESTS
    except Exception:  # made-up bytes raise errors of any kind; who reads the picture says which
        return None


def all_rendered(places: Iterable[str | os.PathLike[str]]) -> bool:
    """Whether all pictures that can be read are of the rendered world, in files, folders and globs."""
    return all(is_rendered(picture) is not False for place in places for picture in _pictures(os.fspath(place)))


def _pictures(place: str) -> Iterator[Path]:
    names = [place] if os.path.exists(place) or not glob.has_magic(place) else glob.iglob(place, recursive=True)
    for path in map(Path, names):
        if os.path.isdir(path):
            yield from (file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        else:
            yield path
