"""One thing is made while another is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from textregion.ahead import ahead


def test_order_results_and_errors_stay_with_their_items() -> None:
    def divide(number: int) -> float:
        return 12 / number

    results: dict[int, float] = {}
    for number, made in ahead(divide, [1, 0, 3]):
        if number == 0:
            with pytest.raises(ZeroDivisionError):
                made()
        else:
            results[number] = made()
    assert results == {1: 12.0, 3: 4.0}
    assert list(ahead(divide, [])) == []


def test_the_next_item_is_taken_and_begun_before_this_one_is_handed_out() -> None:
    begun = [threading.Event() for _ in range(3)]
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    def make(number: int) -> int:
        begun[number].set()
        return number

    pairs = ahead(make, items())
    first, made = next(pairs)
    assert (first, taken) == (0, [0, 1])
    assert begun[1].wait(60)
    assert made() == 0
    assert not begun[2].is_set()
    assert [later() for _, later in pairs] == [1, 2]


def test_who_stops_early_does_not_wait() -> None:
    finish, running = threading.Event(), threading.Event()

    def make(number: int) -> int:
        running.set()
        finish.wait(60)
        return number

    pairs = ahead(make, range(5))
    _, made = next(pairs)
    assert running.wait(60)
    pairs.close()  # type: ignore[attr-defined]
    assert not finish.is_set()  # closing came back while the first was still being made
    finish.set()
    assert made() == 0
