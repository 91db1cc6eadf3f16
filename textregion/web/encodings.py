"""Pictures become regions one at a time, in the order in which they were asked for, and say how far they are."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from ..errors import UserError
from ..regions import RegionTokens
from ..runtime import StageClock, is_out_of_memory
from ..segmenter import TextRegionSegmenter
from .pictures import ServedPicture
from .region_map import RegionMap, region_map

logger = logging.getLogger(__name__)

_SPOKEN = {"masks": "Finding regions", "image tower": "Looking at what is in them", "pooling": "Pooling"}
"""What the page says of a stage."""


class TooManyWaiting(UserError):
    """As many pictures wait as may."""


@dataclass(frozen=True)
class Encoded:
    """What the page is answered from."""

    regions: RegionTokens
    map: RegionMap


@dataclass(frozen=True)
class Progress:
    """How far a picture is."""

    state: Literal["new", "waiting", "encoding", "ready", "failed"] = "new"
    stage: str = ""
    started: float = 0.0
    """By the monotonic clock, once it is being encoded."""
    error: str = ""


@dataclass
class Encodings:
    """Encodes one picture at a time, and keeps the regions of the latest.

    Args:
        segmenter: does it.
        most_waiting: more are refused.
        most_kept: pictures whose regions stay in memory.
    """

    segmenter: TextRegionSegmenter
    most_waiting: int = 8
    most_kept: int = 16
    _kept: dict[str, Encoded] = field(default_factory=dict)
    _progress: dict[str, Progress] = field(default_factory=dict)
    _waiting: dict[str, Future[None]] = field(default_factory=dict)
    _last_seconds: float | None = None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="encode")

    def ask(self, picture: ServedPicture) -> None:
        """Have a picture encoded, unless it is or soon will be.

        Raises:
            TooManyWaiting: try again later.
        """
        with self._lock:
            if self.progress(picture.id).state in ("waiting", "encoding", "ready"):
                return
            if len(self._waiting) >= self.most_waiting:
                raise TooManyWaiting(f"{len(self._waiting)} pictures are waiting already: try again in a while.")
            self._progress[picture.id] = Progress("waiting")
            self._waiting[picture.id] = self._worker.submit(self._encode, picture)

    def cancel(self, id: str) -> None:
        """Take a picture that has not been begun out of the queue."""
        with self._lock:
            if id in self._waiting and self._waiting[id].cancel():
                del self._waiting[id], self._progress[id]

    def get(self, id: str) -> Encoded | None:
        """A picture's regions, if it is ready."""
        with self._lock:
            if id in self._kept:
                self._kept[id] = self._kept.pop(id)  # the latest last
            return self._kept.get(id)

    def progress(self, id: str) -> Progress:
        """How far a picture is."""
        with self._lock:
            return self._progress.get(id, Progress())

    def report(self, id: str) -> dict[str, Any]:
        """How far a picture is, in the page's words: ``state``, ``stage``, ``seconds``, ``share``, ``error``.

        ``share`` is measured by how long the last picture took; it is missing for the first.
        """
        with self._lock:
            progress = self.progress(id)
            seconds = time.monotonic() - progress.started if progress.state == "encoding" else 0.0
            stage = progress.stage
            if progress.state == "waiting":
                stage = f"Waiting, {list(self._waiting).index(id) + 1} in the queue"
            report = {"state": progress.state, "stage": stage, "seconds": round(seconds, 1), "error": progress.error}
            if self._last_seconds:
                report["share"] = round(min(seconds / self._last_seconds, 0.97), 3)
            return report

    def close(self) -> None:
        """Take no more, and do not wait for the one that is being encoded."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _encode(self, picture: ServedPicture) -> None:
        started = time.monotonic()
        with self._lock:
            self._waiting.pop(picture.id, None)
            self._progress[picture.id] = Progress("encoding", "Reading the picture", started)
        with self._noting_failure(picture):
            regions = picture.encode(self._speaking(lambda stage: self._say(picture.id, stage)))
            self._say(picture.id, "Numbering the regions")
            encoded = Encoded(regions, region_map(regions))
            with self._lock:
                self._kept[picture.id] = encoded
                self._progress[picture.id] = Progress("ready")
                self._last_seconds = time.monotonic() - started
                while len(self._kept) > self.most_kept:
                    oldest = next(iter(self._kept))
                    del self._kept[oldest], self._progress[oldest]

    def _say(self, id: str, stage: str) -> None:
        with self._lock:
            self._progress[id] = replace(self._progress[id], stage=stage)

    def _speaking(self, say: Callable[[str], None]) -> TextRegionSegmenter:
        """The segmenter, telling each stage that it enters."""
        mute = self.segmenter
        clock = _SpeakingClock(say)
        return TextRegionSegmenter(
            mute.encoder, mute.mask_generator, mute.options, text=mute.text, precision=mute.precision, clock=clock
        )

    @contextlib.contextmanager
    def _noting_failure(self, picture: ServedPicture) -> Iterator[None]:
        """Whatever goes wrong with one picture, the next is encoded."""
        try:
            yield
        except Exception as error:
            if isinstance(error, UserError):
                message = str(error)
            elif is_out_of_memory(error):
                message = f"There is not enough memory for picture {picture.name!r}: make it smaller, or lower --scale."
            else:
                logger.exception("Picture %r could not be encoded.", picture.name)
                message = f"Picture {picture.name!r} could not be encoded: the server's log says why."
            with self._lock:
                self._progress[picture.id] = Progress("failed", error=message)


class _SpeakingClock(StageClock):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    @contextlib.contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Say which stage begins."""
        self._say(_SPOKEN.get(name, name))
        with super().stage(name, device):
            yield
