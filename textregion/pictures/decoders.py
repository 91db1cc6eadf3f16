"""Decoders beside Pillow's, kept from remarks on damaged files in the log or on the terminal: errors are raised."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import cv2
import numpy as np

from .depth import Numbers


def read_by_opencv(content: bytes) -> Numbers | None:
    """The first picture of a file with all its bits, as it is stored: (H, W, bands), in RGB order; None: it cannot.

    Args:
        content: of the file.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        return None
    bands = values.reshape(*values.shape[:2], -1)
    return bands[..., [2, 1, 0, 3][: bands.shape[2]]] if bands.shape[2] in (3, 4) else bands


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without the remarks of the logger of that name."""

    def reject(record: logging.LogRecord) -> bool:
        return False

    other = logging.getLogger(name)
    other.addFilter(reject)
    try:
        yield
    finally:
        other.removeFilter(reject)
