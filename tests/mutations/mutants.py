"""The faults of a file: where they lie, what they are called, and the file with one of them in it."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .operators import changes

_QUIET = ("debug", "info")


@dataclass(frozen=True)
class Mutant:
    """One fault; its key stays the same when lines move."""

    path: str
    where: str
    """Qualified name of the function or class, ``<module>`` outside of any."""
    operator: str
    before: str
    after: str
    repeat: int
    """Which of several alike in one place, from 0."""
    lines: range
    """Of the statement, its body apart, from 1."""
    names: tuple[str, ...]
    """Names that the statement binds, where it runs at import."""
    runs: Literal["in a test", "at import", "as a default"]
    span: tuple[int, int]
    """Bytes of the file that it replaces."""
    text: str
    """What stands there instead."""

    @property
    def key(self) -> str:
        repeat = f" #{self.repeat + 1}" if self.repeat else ""
        return f"{self.path}::{self.where} | {self.operator} | {self.before} -> {self.after}{repeat}"

    def apply(self, source: bytes) -> bytes:
        """The file with the fault."""
        return source[: self.span[0]] + self.text.encode() + source[self.span[1] :]


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All faults of a file, in the order of its lines."""
    return list(_Finder(path, source).find())


def draw(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """The first of all in an order that depends on the seed and on each one's own key alone."""
    return sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())[:count]


def read(root: Path, paths: Sequence[str]) -> list[Mutant]:
    """The faults of files, and of all files below folders."""
    found: list[Mutant] = []
    for path in dict.fromkeys(file for name in paths for file in _files(root / name)):
        found += mutants_of(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    return found


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


class _Finder:
    def __init__(self, path: str, source: str) -> None:
        self.path, self.source = path, source
        self.lines = source.encode().splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.inside = False
        self.seen: Counter[tuple[str, str, str, str]] = Counter()

    def find(self) -> Iterator[Mutant]:
        yield from self._body(ast.parse(self.source).body, ())

    def _body(self, body: list[ast.stmt], where: tuple[str, ...]) -> Iterator[Mutant]:
        for statement in body:
            if not _is_skipped(statement, where):
                yield from self._statement(statement, where)

    def _statement(self, statement: ast.stmt, where: tuple[str, ...]) -> Iterator[Mutant]:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            inner = (*where, statement.name)
            if isinstance(statement, ast.FunctionDef):
                for default in [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]:
                    yield from self._expression(default, statement, inner)
            outer, self.inside = self.inside, self.inside or isinstance(statement, ast.FunctionDef)
            yield from self._body(statement.body, inner)
            self.inside = outer
            return
        yield from self._changed(statement, statement, where)
        for name, value in ast.iter_fields(statement):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.stmt):
                    yield from self._body([child], where)
                elif isinstance(child, ast.ExceptHandler):
                    yield from self._handler(child, statement, where)
                elif isinstance(child, ast.AST) and name != "annotation":
                    yield from self._expression(child, statement, where)

    def _handler(self, handler: ast.ExceptHandler, statement: ast.stmt, where: tuple[str, ...]) -> Iterator[Mutant]:
        if handler.type is not None:
            yield from self._expression(handler.type, statement, where)
        yield from self._body(handler.body, where)

    def _expression(self, node: ast.AST, statement: ast.stmt, where: tuple[str, ...]) -> Iterator[Mutant]:
        if isinstance(node, ast.JoinedStr) or isinstance(statement, ast.Raise) or _is_log(node):
            return  # what a message says
        if hasattr(node, "lineno"):
            yield from self._changed(node, statement, where)
        for child in ast.iter_child_nodes(node):
            yield from self._expression(child, statement, where)

    def _changed(self, node: ast.AST, statement: ast.stmt, where: tuple[str, ...]) -> Iterator[Mutant]:
        for operator, other in changes(node):
            if isinstance(node, ast.stmt) and _needs_its_name(node, operator):
                continue
            span, before = self._span(node, other)
            text = _text(other, node.col_offset if isinstance(node, ast.stmt) else None)  # type: ignore[attr-defined]
            if isinstance(node, (ast.If, ast.While, ast.For, ast.With)):
                before, after = ast.unparse(_head(node)), ast.unparse(_head(other))
            else:
                after = ast.unparse(other)
            named = (operator, _short(before), _short(after), ".".join(where) or "<module>")
            last = max(
                (child.end_lineno or 0 for child in ast.walk(_head(statement)) if hasattr(child, "end_lineno")),
                default=0,
            )
            yield Mutant(
                self.path,
                named[3],
                *named[:3],
                self.seen[named],
                range(statement.lineno, max(last, statement.lineno) + 1),
                () if self.inside else tuple(_bound(statement)),
                self._runs(statement),
                span,
                text,
            )
            self.seen[named] += 1

    def _runs(self, statement: ast.stmt) -> Literal["in a test", "at import", "as a default"]:
        if isinstance(statement, ast.FunctionDef):
            return "as a default"
        return "in a test" if self.inside else "at import"

    def _span(self, node: ast.AST, other: ast.AST) -> tuple[tuple[int, int], str]:
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return (start, end), b"".join(self.lines)[start:end].decode()


def _text(node: ast.AST, indent: int | None) -> str:
    if indent is None:
        return f"({ast.unparse(node)})"
    return ("\n" + " " * indent).join(ast.unparse(node).split("\n"))


def _head(node: ast.AST) -> ast.AST:
    """A compound statement with an empty body."""
    if not hasattr(node, "body") or isinstance(node, ast.expr):
        return node
    head = copy.copy(node)
    head.body = [ast.Pass()]  # type: ignore[attr-defined]
    for name in ("orelse", "handlers", "finalbody", "decorator_list"):
        if hasattr(head, name):
            setattr(head, name, [])
    return head


def _short(text: str) -> str:
    """One line, at most 120 letters."""
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:80]}~{hashlib.sha256(line.encode()).hexdigest()[:6]}~{line[-30:]}"


def _bound(statement: ast.stmt) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    for target in targets:
        yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name)) if target else ()


def _needs_its_name(node: ast.stmt, operator: str) -> bool:
    """Whether what is left out would only leave a name without a value."""
    if operator != "statement left out" or not isinstance(node, ast.Assign):
        return False
    read_in_it = {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
    return bool(set(_bound(node)) - read_in_it)


def _is_log(node: ast.AST) -> bool:
    call = node.func if isinstance(node, ast.Call) else None
    return isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "logger"


def _is_skipped(statement: ast.stmt, where: tuple[str, ...]) -> bool:
    """Imports, docstrings, notes to the developer, names of types, contracts without code."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assert)):
        return True
    if isinstance(statement, ast.Expr):
        call = statement.value
        return isinstance(call, ast.Constant) or (_is_log(call) and call.func.attr in _QUIET)  # type: ignore[attr-defined]
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING":
        return True
    if isinstance(statement, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in statement.bases)
    if not where and isinstance(statement, ast.Assign):
        is_type = isinstance(statement.value, ast.Subscript) and isinstance(statement.targets[0], ast.Name)
        return is_type or set(_bound(statement)) <= {"logger", "__all__", "__version__"}
    return False
