"""One picture at a time, in order, with a queue that ends, and failures that stop nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.web.conftest import noise
from textregion import RegionTokens, TextRegionSegmenter, UserError
from textregion.image import RGB
from textregion.web.encodings import Encodings, TooManyWaiting


@dataclass
class Slow:
    """A picture that is encoded when it may, and notes when."""

    id: str
    order: list[str]
    error: Exception | None = None
    may: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    name: str = "slow"

    def read(self) -> RGB:
        return noise(0)

    def encode(self, segmenter: TextRegionSegmenter) -> RegionTokens:
        self.order.append(self.id)
        self.begun.set()
        assert self.may.wait(60)
        if self.error:
            raise self.error
        return segmenter.encode(self.read())


@pytest.fixture
def encodings(quick_segmenter: TextRegionSegmenter) -> Iterator[Encodings]:
    made = Encodings(quick_segmenter, most_waiting=2, most_kept=2)
    yield made
    made.close()


def finish(encodings: Encodings, picture: Slow) -> None:
    picture.may.set()
    marker = threading.Event()
    encodings._worker.submit(marker.set)
    assert marker.wait(60)


def test_one_at_a_time_in_order_and_no_more_than_may_wait(encodings: Encodings) -> None:
    order: list[str] = []
    pictures = [Slow(str(number), order) for number in range(4)]
    encodings.ask(pictures[0])
    assert pictures[0].begun.wait(60)
    for picture in (*pictures[1:3], pictures[1]):  # asked for twice, it waits once
        encodings.ask(picture)
    assert encodings.report("0")["state"] == "encoding"
    assert [encodings.report(id)["stage"] for id in "12"] == ["Waiting, 1 in the queue", "Waiting, 2 in the queue"]
    with pytest.raises(TooManyWaiting, match="2 pictures are waiting already"):
        encodings.ask(pictures[3])
    assert order == ["0"] and encodings.get("0") is None
    encodings.cancel("1")
    encodings.cancel("0")  # has begun
    assert encodings.report("1")["state"] == "new"
    for picture in pictures:
        picture.may.set()
    finish(encodings, pictures[2])
    assert order == ["0", "2"]
    assert encodings.report("0")["state"] == encodings.report("2")["state"] == "ready"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("Picture 'slow' is torn: mend it."), "Picture 'slow' is torn: mend it."),
        (MemoryError(), "There is not enough memory for picture 'slow'"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (ZeroDivisionError("inside"), "could not be encoded: the server's log says why"),
    ],
)
def test_a_failure_is_told_and_the_next_picture_goes_on(encodings: Encodings, error: Exception, told: str) -> None:
    bad, good = Slow("bad", [], error), Slow("good", [])
    encodings.ask(bad)
    encodings.ask(good)
    bad.may.set()
    finish(encodings, good)
    assert told in encodings.report("bad")["error"] and "inside" not in encodings.report("bad")["error"]
    assert encodings.report("good")["state"] == "ready"
    bad.error = None
    encodings.ask(bad)  # it may be tried again
    finish(encodings, bad)
    assert encodings.report("bad")["state"] == "ready"


def test_the_latest_used_are_kept(encodings: Encodings) -> None:
    pictures = [Slow(str(number), []) for number in range(3)]
    for number, picture in enumerate(pictures):
        if number == 2:
            assert encodings.get("0") is not None  # used after 1
        encodings.ask(picture)
        finish(encodings, picture)
    assert [encodings.get(id) is not None for id in "012"] == [True, False, True]
    assert encodings.report("1")["state"] == "new"


def test_the_stages_are_told_and_the_share_is_measured_by_the_last_picture(
    encodings: Encodings, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(encodings, "_say", lambda id, stage: said.append(stage))
    first = Slow("first", [])
    assert "share" not in encodings.report("first")
    encodings.ask(first)
    finish(encodings, first)
    assert said[0] == "Finding regions" and "Looking at what is in them" in said and said[-1] == "Numbering the regions"
    second = Slow("second", [])
    encodings.ask(second)
    assert second.begun.wait(60)
    assert 0 <= encodings.report("second")["share"] <= 0.97
    finish(encodings, second)
