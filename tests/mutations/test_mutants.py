"""The faults themselves: what is changed, what is left alone, and by what they are known."""

from __future__ import annotations

import pytest

from tests.mutations.covering import Lines, Map, Measured
from tests.mutations.mutants import Mutant, draw, mutants_of
from tests.mutations.report import report

SOURCE = '''"""A docstring."""

LIMIT = 3


def within(values: list[int], most: int = LIMIT) -> list[int]:
    """Another one."""
    if len(values) > most and most >= 0:
        raise ValueError(f"{len(values)} is more than {most + 1}")
    return [value for value in values if value < most]
'''


def made(source: str, operator: str) -> list[tuple[str, str]]:
    return [(m.before, m.after) for m in mutants_of("a.py", source) if m.operator == operator]


@pytest.mark.parametrize(
    ("source", "operator", "expected"),
    [
        ("x = a < b", "comparison", [("a < b", "a <= b"), ("a < b", "a >= b")]),
        ("x = a - b", "arithmetic", [("a - b", "a + b")]),
        ("x = a and b", "and, or", [("a and b", "a or b")]),
        ("x = a and b", "operand left out", [("a and b", "b"), ("a and b", "a")]),
        ("x = 0", "constant", [("0", "1")]),
        ("x = not a", "sign or not left out", [("not a", "a")]),
        ("x = f(a, b)", "arguments swapped", [("f(a, b)", "f(b, a)")]),
        ("x = f(a, k=b)", "argument left out", [("f(a, k=b)", "f(a)")]),
        ("x = min(a, b)", "the other of a pair", [("min", "max")]),
        ("def f():\n    return a[1:]", "slice", [("a[1:]", "a[:]")]),
        ("x = a if b else c", "one of two", [("a if b else c", "a"), ("a if b else c", "c")]),
        ("x = {'k': a}", "entry left out", [("{'k': a}", "{}")]),
        ("x = (1, 2)", "entries swapped", [("(1, 2)", "(2, 1)")]),
        ("def f():\n    g()", "statement left out", [("g()", "pass")]),
        ("def f():\n    return g", "returned value", [("return g", "return None")]),
        ("with a():\n    b", "context left out", [("with a():\n    pass", "if True:\n    pass")]),
        ("'text'\nlogger.debug('x')\nimport a\nassert a < b", "comparison", []),
    ],
)
def test_what_is_changed(source: str, operator: str, expected: list[tuple[str, str]]) -> None:
    assert made(source, operator) == [(" ".join(one.split()), " ".join(two.split())) for one, two in expected]


def test_every_fault_compiles_and_changes_one_place() -> None:
    found = mutants_of("a.py", SOURCE)
    assert len({mutant.key for mutant in found}) == len(found) > 15
    for mutant in found:
        changed = mutant.apply(SOURCE.encode()).decode()
        compile(changed, "a.py", "exec")
        assert changed != SOURCE
        assert '"""Another one."""' in changed
        assert "is more than {most + 1}" in changed or mutant.after == "pass"


def test_a_fault_keeps_its_key_when_lines_move_and_its_place_in_the_order() -> None:
    def keys(source: str, seed: int) -> list[str]:
        return [mutant.key for mutant in draw(mutants_of("a.py", source), 8, seed)]

    assert keys(SOURCE, 0) == keys(f"\n\n{SOURCE}", 0)
    assert keys(SOURCE, 0) != keys(SOURCE, 1)


def test_the_tests_of_a_fault_are_those_that_run_its_statement_the_fastest_first() -> None:
    lines = Lines("a.py", SOURCE)
    map_ = Map(
        {
            "slow": Measured(2.0, frozenset({lines.key(8), lines.key(10)})),
            "fast": Measured(1.0, frozenset({lines.key(10)})),
            "other": Measured(0.1, frozenset({"b.py::f::return LIMIT"})),
        }
    )

    def tests_of(before: str) -> list[str]:
        found: Mutant = next(mutant for mutant in mutants_of("a.py", SOURCE) if mutant.before == before)
        return map_.tests_of(found, lines)

    assert tests_of("value < most") == ["fast", "slow"]
    assert tests_of("most >= 0") == ["slow"]
    assert tests_of("3") == ["other", "fast", "slow"]  # where the name stands, then whatever runs the file


def test_the_report_counts_what_was_noticed_and_names_what_is_open() -> None:
    entries = [
        {"key": f"a.py::{number}", "path": "a.py", "operator": "slice", "verdict": verdict}
        for number, verdict in enumerate(["killed", "out of time", "survived", "survived"])
    ]
    lines = report(entries, {"a.py::2": "it changes nothing"}).splitlines()
    assert lines[1].split() == ["a.py", "4", "2", "1", "1", "50.0"]
    assert lines[-1] == "survived: a.py::3"
