"""Compaction: small parts and parts with pictures that are gone are written anew, full and in the order of paths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice

from ..files import write_bytes
from .growing import FAILED, failed_lines
from .part import MOST_PICTURES
from .rows import FileFacts
from .store import Catalogue, Loaded, Store


@dataclass(frozen=True)
class Compaction:
    """How many parts and tombstones there were, and are."""

    parts_before: int
    parts: int
    tombstones: int
    """Removed with their pictures."""


def compact(store: Store) -> Compaction:
    """Rewrite what is worth it. New parts are there before old ones leave, so that a kill loses nothing.

    Raises:
        UserError: somebody else is writing, or a file cannot be written.
    """
    with store.compacting():
        catalogue = store.load()
        worn = [one for one in catalogue.loaded if not is_full(one, catalogue)]
        names = {one.part.name for one in worn}
        entries = (entry for _, entry in sorted(catalogue.live.items()) if entry.part.name in names)
        written = set()
        while batch := list(islice(entries, MOST_PICTURES)):
            written.add(store.add([entry.rows for entry in batch]))
        store.remove([one.part for one in worn if one.part.name not in written], catalogue.gone)
        _forget_mended(store, catalogue)
        store.remove_litter()
        parts = len(catalogue.loaded) - len(names - written) + len(written - names)
        return Compaction(len(catalogue.loaded), parts, len(catalogue.gone))


def is_full(one: Loaded, catalogue: Catalogue) -> bool:
    """Whether a part has as many pictures as it may, all alive."""
    part = one.part
    return len(part.pictures) == MOST_PICTURES and all(
        catalogue.live.get(facts.path) == (part, picture) for picture, facts in enumerate(part.pictures)
    )


def _forget_mended(store: Store, catalogue: Catalogue) -> None:
    """Leave those lines about bad pictures that still hold: one for each, of a file that is as it was then."""
    last = {}
    for record in failed_lines(store.folder):
        last[record["picture"]] = record
    holding = []
    for path, record in last.items():
        try:
            same = FileFacts.of(path) == FileFacts(record["size"], record["mtime_ns"])
        except OSError:
            same = False
        if same and path not in catalogue.live:
            holding.append(json.dumps(record).encode() + b"\n")
    if last:
        write_bytes(store.folder / FAILED, b"".join(holding))
