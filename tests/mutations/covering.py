"""The map from lines to the tests that run them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .mutants import Mutant


class Lines:
    """Names of a file's lines that stay the same when lines move: function and text."""

    def __init__(self, path: str, source: str) -> None:
        self._path, self._text = path, source.splitlines()
        self._where = ["<module>"] * (len(self._text) + 1)
        self._mark(ast.parse(source).body, ())

    def _mark(self, body: list[ast.stmt], where: tuple[str, ...]) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                inner = (*where, node.name)
                for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                    self._where[line - 1] = ".".join(inner)
                self._mark(node.body, inner)
            else:
                self._mark([child for child in ast.walk(node) if isinstance(child, ast.FunctionDef)], where)

    def key(self, line: int) -> str:
        """Of a line, from 1."""
        return f"{self._path}::{self._where[line - 1]}::{self._text[line - 1].strip()}"


@dataclass(frozen=True)
class Measured:
    """What one test was seen to do."""

    seconds: float
    lines: frozenset[str]


@dataclass
class Map:
    """Tests by their id, with what they run."""

    tests: dict[str, Measured] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Digests of the test files at that time."""

    @classmethod
    def load(cls, path: Path) -> Map:
        """Read what :meth:`save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        names = content["lines"]
        return cls(
            {
                test: Measured(seconds, frozenset(names[index] for index in lines))
                for test, (seconds, lines) in content["tests"].items()
            },
            content["files"],
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        names = sorted({line for test in self.tests.values() for line in test.lines})
        place = {name: index for index, name in enumerate(names)}
        tests = {
            test: (found.seconds, sorted(place[line] for line in found.lines)) for test, found in self.tests.items()
        }
        content = {"lines": names, "tests": tests, "files": self.files}
        path.write_text(json.dumps(content), encoding="utf-8")

    def outdated(self, files: Mapping[str, str]) -> list[str]:
        """The test files that are new or have changed."""
        return sorted(file for file, digest in files.items() if self.files.get(file) != digest)

    def updated(self, other: Map, files: Mapping[str, str]) -> Map:
        """The map with another's tests in the place of those of changed files, and without those of lost ones."""
        kept = {file for file, digest in files.items() if self.files.get(file) == digest}
        tests = {test: found for test, found in self.tests.items() if test.split("::")[0] in kept}
        return Map(tests | other.tests, dict(files))

    def tests_of(self, mutant: Mutant, lines: Lines) -> list[str]:
        """The tests that run a fault, the fastest first.

        What runs at import is no test's own: the tests that run lines where its name stands come first, then all
        that run anything in its file.
        """
        if mutant.runs == "in a test":
            return self._fastest({lines.key(line) for line in mutant.lines})
        place = f"{mutant.path}::{mutant.where}::" if mutant.runs == "as a default" else f"{mutant.path}::"
        word = re.compile(rf"\b({'|'.join(map(re.escape, mutant.names))})\b") if mutant.names else None
        nearest = {line for line in self._lines if word and word.search(line.split("::", 2)[2])}
        around = {line for line in self._lines if line.startswith(place)}
        return list(dict.fromkeys([*self._fastest(nearest), *self._fastest(around)]))

    def _fastest(self, wanted: set[str]) -> list[str]:
        chosen = [(found.seconds, test) for test, found in self.tests.items() if not wanted.isdisjoint(found.lines)]
        return [test for _, test in sorted(chosen)]

    @cached_property
    def _lines(self) -> frozenset[str]:
        return frozenset().union(*(found.lines for found in self.tests.values()))
