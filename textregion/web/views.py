"""Pictures as a browser shows them: JPEG files of a bounded size, the latest remembered."""

from __future__ import annotations

import io
import threading

from PIL import Image

from .pictures import ServedPicture

VIEW_SIDE = 2048
"""Pixels along the longer side of the picture that is looked at."""
THUMBNAIL_SIDE = 320
MOST_BYTES = 128 * 2**20
"""Of files that are remembered."""
_AT_A_TIME = 2
"""Pictures that are decoded at once: a browser asks for many, and each takes its memory."""


class Views:
    """JPEG files of the pictures."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, int], bytes] = {}
        self._bytes = 0
        self._lock, self._turn = threading.Lock(), threading.Semaphore(_AT_A_TIME)

    def jpeg(self, picture: ServedPicture, side: int = VIEW_SIDE) -> bytes:
        """The picture with its longer side no longer than ``side``; raises UserError where it cannot be read."""
        key = picture.id, side
        with self._lock:
            if key in self._files:
                self._files[key] = self._files.pop(key)  # the latest last
                return self._files[key]
        with self._turn:
            content = _jpeg(Image.fromarray(picture.read()), side)
        with self._lock:
            self._bytes += len(content) - len(self._files.get(key, b""))
            self._files[key] = content
            while self._bytes > MOST_BYTES:
                self._bytes -= len(self._files.pop(next(iter(self._files))))
        return content


def _jpeg(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
