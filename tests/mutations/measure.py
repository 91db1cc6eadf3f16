"""Which tests run which lines, in what time: measured once, in a copy of the tree, by coverage's contexts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .covering import Lines, Map, Measured

FAR_TOO_LONG = 60.0
"""Seconds; such a test is left out."""


class Recorder:
    """A pytest plugin: lines of a test and of the fixtures that it asks for, each under a name of its own.

    Args:
        root: the copy.
        sources: folders whose lines count.
    """

    def __init__(self, root: Path, sources: list[str]) -> None:
        import coverage

        self._root = root
        self._coverage = coverage.Coverage(
            data_file=None, source=[str(root / name) for name in sources], config_file=False
        )
        self._seconds: dict[str, float] = {}
        self._fixtures: dict[str, list[str]] = {}
        self._failed: set[str] = set()
        self._start = 0.0

    def pytest_sessionstart(self) -> None:
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        closure = item._fixtureinfo.name2fixturedefs
        self._fixtures[item.nodeid] = [_name(found) for defs in closure.values() for found in defs]
        self._coverage.switch_context(item.nodeid)
        start = time.perf_counter()
        result = yield
        self._seconds[item.nodeid] = time.perf_counter() - start
        self._coverage.switch_context("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        before = request._pyfuncitem.nodeid
        self._coverage.switch_context(_name(fixturedef))
        try:
            return (yield)
        finally:
            self._coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def result(self) -> Map:
        """What was measured."""
        self._coverage.stop()
        data = self._coverage.get_data()
        seen: dict[str, set[str]] = {}
        for file in data.measured_files():
            path = Path(file).relative_to(self._root).as_posix()
            lines = Lines(path, Path(file).read_text(encoding="utf-8"))
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in filter(None, contexts):
                    seen.setdefault(context, set()).add(lines.key(line))
        tests = {}
        for test, seconds in self._seconds.items():
            if test in self._failed or seconds > FAR_TOO_LONG:
                continue
            keys = set(seen.get(test, ())).union(*(seen.get(name, ()) for name in self._fixtures[test]))
            tests[test] = Measured(round(seconds, 3), frozenset(keys))
        return Map(tests)


def _name(fixturedef: Any) -> str:
    return f"fixture {fixturedef.baseid}::{fixturedef.argname}"
