"""What the key of a record is made of, so that records of data that have changed are never taken up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor


def digest_of(*facts: object) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def contents_of(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """A digest of the bytes of every file, by its path; an empty text for one that cannot be read."""
    unique = list(dict.fromkeys(os.fspath(path) for path in paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(unique, pool.map(_content_of, unique)))


def _content_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""
