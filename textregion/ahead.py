"""What the processor can do beside the models: one thing is made while another is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[tuple[Item, Callable[[], Made]]]:
    """Every item, in order, with a function that waits for ``make(item)`` and gives it, or raises what it raised.

    One thread makes. The next item is taken from ``items``, by whoever iterates, and begun before this one is handed
    out; so pictures are read while others are segmented, and drawn while the next are.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        begun = None
        for item in items:
            following = item, worker.submit(make, item).result
            if begun is not None:
                yield begun
            begun = following
        if begun is not None:
            yield begun
    finally:
        worker.shutdown(wait=False, cancel_futures=True)  # whoever is interrupted does not wait
