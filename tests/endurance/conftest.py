"""Rendered scenes and undisturbed runs, made once; figures of the trials, shown at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.endurance import trials
from tests.endurance.trials import Evaluation

_FIGURES: list[str] = []
COUNT = 60


@pytest.fixture(scope="session", params=trials.NAMES)
def evaluation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Each of the three, on sixty pictures."""
    folder = tmp_path_factory.mktemp(request.param)
    trials.render(folder / "data", request.param, COUNT)
    return trials.measure(request.param, folder / "data", folder / "undisturbed")


@pytest.fixture(scope="session")
def figure() -> Callable[[str], None]:
    """Takes a line to be shown after the tests."""
    return _FIGURES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if _FIGURES:
        terminalreporter.section("figures")
        for line in _FIGURES:
            terminalreporter.write_line(line)
